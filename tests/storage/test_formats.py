"""Both formats over any store: the same bytes everywhere, read back as they were written."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch
import xarray
from faulty_store import FaultyStore
from small_plans import FORMATS, LANES, STEPS, plan_of, values_of, write

from denoscope.foundation.errors import UserError
from denoscope.storage import formats, inspection
from denoscope.storage.plan import Plan
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.stores.memory import MemoryStore


def content(store) -> dict[str, bytes]:
    """Everything in a store except locks."""
    return {key: store.get(key) for key in store.list() if not key.endswith("/lock")}


def check_values(dataset: xarray.Dataset, plan: Plan, samples: slice = slice(None)) -> None:
    for array in plan.arrays:
        found, wanted = dataset[array.name][samples].to_numpy(), values_of(array)[samples]
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted, equal_nan=True), array.name


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_recording_in_memory_is_read_as_it_was_written(format, codec):
    plan, store = plan_of(format, codec), MemoryStore()
    write(store, plan)
    dataset = formats.open_dataset(store)
    check_values(dataset, plan)
    assert dataset["complete"].values.all() and dataset.attrs["fingerprint"]["lanes"] == LANES
    assert np.argwhere(dataset["nonfinite"].values).tolist() == [[3, STEPS]]
    assert dataset["sample"].values.tolist() == list(plan.samples)
    assert np.array_equal(dataset["conv_in"][[4, 1], 2].to_numpy(), values_of(plan.arrays[1])[[4, 1], 2])
    report = inspection.inspect(store)
    assert not report.problems and not report.missing and report.sound == plan.samples


@pytest.mark.parametrize("format", FORMATS)
def test_what_describes_a_recording_is_read_once(format):
    """In a bucket each operation is a request."""
    plan, stored = plan_of(format), MemoryStore()
    write(stored, plan)
    layout = formats.FORMATS[format].layout
    described = [layout.FILE.name, *(key for key in stored.list(f"{layout.MARKS}/") if key.endswith(".json"))]
    for reads in (formats.open_dataset, inspection.inspect, lambda store: inspection.first_damage(store, ())):
        store = FaultyStore(stored)
        reads(store)
        counts = {key: store.operations.count(f"get {key}") for key in described}
        if reads is formats.open_dataset and format == "zarr":
            counts[layout.FILE.name] -= 1  # zarr's own
        assert set(counts.values()) <= {0, 1} and counts[layout.FILE.name] == 1
        assert store.operations.count(f"list {layout.MARKS}/") == 1


@pytest.mark.parametrize("existing", ["refuse", "resume"])
@pytest.mark.parametrize("format", FORMATS)
def test_each_check_of_an_output_reads_what_describes_it_once(format, existing):
    """It is checked before and after it is locked, and a resume then reads it once more."""
    plan, stored = plan_of(format), MemoryStore()
    write(stored, plan)
    store = FaultyStore(stored)
    with suppress(UserError):
        write(store, plan, existing)
    reads = store.operations.count(f"get {formats.FORMATS[format].layout.FILE.name}")
    assert reads == {"refuse": 1, "resume": 3}[existing]


@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_store_gets_the_same_bytes(format, tmp_path):
    plan = plan_of(format)
    stores = [MemoryStore(), FaultyStore(), formats.store_of(tmp_path / "run", format)]
    for store in stores:
        write(store, plan)
    assert content(stores[0]) == content(stores[1]) == content(stores[2])
    assert len(content(stores[0])) > 15


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("unseen", "every"),
    [(False, 2), (True, 3), *(pytest.param(unseen, 1, marks=pytest.mark.slow) for unseen in (False, True))],
)
def test_whatever_operation_fails_finished_groups_stay_and_a_resume_completes_the_bytes(
    format, unseen, every
):
    plan, whole = plan_of(format), FaultyStore()
    write(whole, plan)
    for number in range(1, len(whole.operations) + 1, every):
        store = MemoryStore()
        faulty = FaultyStore(store, fails_at=number, unseen=unseen)
        with suppress(UserError, OSError):
            write(faulty, plan)
        finished = len(store_marks(store, format))
        for key in [key for key in store.list() if key.endswith("/lock")]:
            store.delete(key)  # as if the process was killed
        before = {key: store.get(key) for key in store.list()}
        with suppress(UserError, OSError):
            assert len(write(store, plan, "resume")) == finished
        if content(store) != content(whole):  # no file says what was begun
            assert before == {key: store.get(key) for key in store.list()}
            write(store, plan, "overwrite")
        assert content(store) == content(whole), faulty.operations[-1]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_whatever_operation_of_a_resume_fails_no_finished_group_is_lost(format, every):
    plan, whole, begun = plan_of(format), MemoryStore(), MemoryStore()
    write(whole, plan)
    write(begun, plan, groups=[0, 2])
    number, failed = 1, True
    while failed:
        store = MemoryStore()
        for key in begun.list():
            store.put(key, begun.get(key))
        faulty = FaultyStore(store, fails_at=number)
        message = message_of(faulty, plan)
        failed = "Input/output error" in message
        assert failed or not message
        marks = store_marks(store, format)
        assert {0, 2} <= marks, f"{faulty.operations[-1]} lost a finished group"
        for key in [key for key in store.list() if key.endswith("/lock")]:
            store.delete(key)
        assert write(store, plan, "resume") == sorted(marks)
        assert content(store) == content(whole)
        number += every
    assert number > 20


def message_of(store, plan: Plan) -> str:
    """The message that refuses a resume."""
    try:
        write(store, plan, "resume")
    except (UserError, OSError) as error:
        return str(error)
    return ""


def store_marks(store, format: str) -> set[int]:
    """The groups that have a mark, and the bytes that each mark covers."""
    folder = formats.FORMATS[format].layout.MARKS
    found = {int(key.rpartition("/")[2][:-5]): key for key in store.list(f"{folder}/") if key[-6].isdigit()}
    for key in found.values():
        for name in json.loads(store.get(key))["files"]:
            assert store.get(name) is not None
    return set(found)


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_writer_is_refused(format):
    plan, store = plan_of(format), MemoryStore()
    kind = formats.FORMATS[format].writer
    with kind.opened(store, plan, "refuse"):
        with pytest.raises(UserError, match="already holds a recording"):
            kind.opened(store, plan, "refuse").__enter__()
        with pytest.raises(UserError, match="is being written by another process"):
            kind.opened(store, plan, "resume").__enter__()


@pytest.mark.parametrize("format", FORMATS)
def test_a_recording_that_exceeds_the_memory_is_refused_with_the_figure(format, monkeypatch):
    monkeypatch.setattr(MemoryStore, "free_bytes", lambda _: 100)
    store = MemoryStore()
    with pytest.raises(UserError, match=r"memory: the recording needs [\d.]+ KiB, but only 100 B are free"):
        write(store, plan_of(format))
    assert not list(store.list())


def test_plain_xarray_sees_layers_whatever_their_addresses_are(tmp_path):
    plan = plan_of("zarr")
    write(formats.store_of(tmp_path / "run", "zarr"), plan)
    plain = xarray.open_zarr(tmp_path / "run", chunks=None)
    names = {"sequence": "sequence", "conv_in": "conv_in", "up/0": "up%2F0", "a\\b%": "a%5Cb%25"}
    assert set(plain.data_vars) == set(names.values())
    for array in plan.arrays:
        assert np.array_equal(plain[names[array.name]].to_numpy(), values_of(array), equal_nan=True)
    check_values(formats.open_dataset(LocalStore(tmp_path / "run")), plan)


def test_plain_torch_reads_layers_whatever_their_addresses_are(tmp_path):
    plan = plan_of("pt")
    write(formats.store_of(tmp_path / "run", "pt"), plan)
    for array in plan.arrays[1:]:
        file = tmp_path / "run" / array.name / "sample_0001_trajectory.pt"
        assert torch.equal(torch.load(file, weights_only=True), torch.from_numpy(values_of(array)[1]))
    check_values(formats.open_dataset(LocalStore(tmp_path / "run")), plan)


def test_an_attribute_is_written_where_the_format_has_it(tmp_path):
    for name in FORMATS:
        write(formats.store_of(tmp_path / name, name), plan_of(name))
        formats.set_attribute(tmp_path / name, "note", [1, 2])
        assert formats.open_dataset(LocalStore(tmp_path / name)).attrs["note"] == [1, 2]
        assert not inspection.inspect(LocalStore(tmp_path / name)).problems


def test_a_store_that_cannot_be_read_is_reported_in_one_line(tmp_path, monkeypatch):
    write(formats.store_of(tmp_path / "run", "zarr"), plan_of("zarr"))

    def fails(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalStore, "get", fails)
    for read in (formats.open_dataset, formats.attributes, inspection.inspect):
        with pytest.raises(UserError, match=r"cannot read .*run: Permission denied; [^\n]+$"):
            read(LocalStore(tmp_path / "run"))


def test_what_is_not_a_recording_is_refused(tmp_path):
    for store, problem in (
        (MemoryStore(), "is not a recording"),
        (LocalStore(tmp_path), "is not a recording"),
        (LocalStore(tmp_path / "none"), "no such recording"),
    ):
        assert formats.stored_format(store) is None
        with pytest.raises(UserError, match=problem):
            formats.open_dataset(store)
