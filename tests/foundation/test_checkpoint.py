"""A checkpoint holds the finished part of a computation: never half a file, and never another computation's."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import xarray

from denoscope.foundation import checkpoint, work
from denoscope.foundation.checkpoint import Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import as_flags
from denoscope.foundation.writing import result_files


def fresh(count=4, **identity):
    return xarray.Dataset(
        {"value": ("cell", np.full(count, np.nan)), "done": ("cell", np.zeros(count, bool))},
        coords={"cell": [f"cell {k}" for k in range(count)], "level": ("cell", np.arange(count) / 10)},
        attrs={
            "identity": {"steps": 50, "model": {"name": "mnist", "size": (1, 28)}} | identity,
            "unit": "nat",
        },
    )


def test_a_dataset_is_read_as_it_was_written(tmp_path):
    data = fresh()
    data["value"].values[1] = 2.5
    result_files.write(data, tmp_path / "a.npz")
    found = Checkpoint(tmp_path / "a.npz").read()
    xarray.testing.assert_equal(found, data)
    assert list(found.coords) == list(data.coords) and found.attrs["unit"] == "nat"
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert plain["value"][1] == 2.5, "plain NumPy reads it"


@pytest.mark.parametrize("name", ["file", "args", "allow_pickle", "dims"])
def test_a_variable_may_have_any_name_but_that_of_the_description(tmp_path, name):
    data = fresh().rename(value=name)
    result_files.write(data, tmp_path / "a.npz")
    xarray.testing.assert_equal(checkpoint.read(tmp_path / "a.npz"), data)
    with pytest.raises(UserError, match="'told'") as caught:
        result_files.write(data.rename({name: "told"}), tmp_path / "b.npz")
    assert "\n" not in str(caught.value) and not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError, MemoryError])
def test_finished_pieces_are_in_the_file_however_the_block_ends(tmp_path, stop):
    out = tmp_path / "a.npz"
    with pytest.raises(stop), Checkpoint(out).open(fresh()) as work:
        work.data["done"].values[0] = True
        work.save()
        work.data["done"].values[1] = True
        raise stop
    with Checkpoint(out, resume=True).open(fresh()) as work:
        assert work.data["done"].to_numpy().tolist() == [True, True, False, False]
        work.data["done"].values[:] = True
    assert checkpoint.read(out)["done"].all()
    with Checkpoint(out, overwrite=True).open(fresh()) as work:
        assert not work.data["done"].any()


@pytest.mark.parametrize("sequential", [False, True])
def test_an_error_before_the_first_piece_neither_creates_nor_replaces_a_file(tmp_path, sequential):
    out = tmp_path / "folder" / "a.npz"
    with pytest.raises(UserError), Checkpoint(out).open(fresh(), sequential=sequential):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())
    result_files.write(fresh(), out)
    before = out.read_bytes()
    for flags in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(UserError), Checkpoint(out, **flags).open(fresh(), sequential=sequential):
            raise UserError("refused")
        assert out.read_bytes() == before


def test_work_that_has_nothing_to_resume_says_so(tmp_path, caplog):
    caplog.set_level("INFO", "denoscope")
    out = tmp_path / "a.npz"
    for said in ("nothing to resume at", "resuming from"):
        with Checkpoint(out, resume=True).open(fresh()) as work:
            work.data["done"].values[:] = True
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{said} {out}")
        caplog.clear()


def test_the_file_of_sequential_work_holds_the_last_save(tmp_path):
    out = tmp_path / "a.npz"
    with pytest.raises(KeyboardInterrupt), Checkpoint(out).open(fresh(), sequential=True) as work:
        work.data["done"].values[0] = True
        assert work.due
        work.save()
        work.data["done"].values[1] = True
        raise KeyboardInterrupt
    assert checkpoint.read(out)["done"].to_numpy().tolist() == [True, False, False, False]


def test_a_bare_loop_is_saved_and_reported_piece_by_piece(tmp_path):
    reported = []
    file = Checkpoint(tmp_path / "a.npz", progress=lambda *counts: reported.append(counts))

    def squares(data):
        for k in np.flatnonzero(~data["done"].to_numpy()):
            data["value"].values[k], data["done"].values[k] = k**2, True
            yield int(data["done"].sum())

    alone = fresh()
    assert list(squares(alone)) == [1, 2, 3, 4], "it runs without a checkpoint"
    with file.open(fresh()) as work:
        work.run(squares(work.data), 4)
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]
    xarray.testing.assert_equal(file.read(), alone)
    with Checkpoint(progress=lambda *counts: reported.append(counts)).open(fresh()) as work:
        work.run(squares(work.data), 4)
    xarray.testing.assert_equal(work.data, alone)
    assert len(reported) == 8 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "options", "parts"),
    [
        (fresh(), {}, ("a.npz", "exists", "resume=True", "overwrite=True")),
        (fresh(steps=20), {"resume": True}, ("a.npz", "steps: 50 → 20", "overwrite=True")),
        (fresh(model={"name": "x", "size": (1, 28)}), {"resume": True}, ("model, name: mnist → x",)),
    ],
)
def test_a_file_of_other_work_is_refused_and_left_unchanged(tmp_path, data, options, parts):
    out = tmp_path / "a.npz"
    result_files.write(fresh(), out)
    before = out.read_bytes()
    with pytest.raises(UserError) as caught, Checkpoint(out, **options).open(data):
        pytest.fail("the block must not run")
    assert all(part in str(caught.value) for part in parts)
    assert out.read_bytes() == before


def test_a_damaged_or_missing_file_is_refused(tmp_path):
    out = tmp_path / "a.npz"
    result_files.write(fresh(), out)
    out.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"a\.npz.*damaged"):
        checkpoint.read(out)
    with (
        pytest.raises(UserError, match=r"a\.npz.*damaged.*overwrite=True"),
        Checkpoint(out, resume=True).open(fresh()),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(UserError, match=r"none\.npz.*No such file"):
        checkpoint.read(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("given", "options", "parts"),
    [
        ("a.npz", {"resume": True, "overwrite": True}, ("resume=True", "overwrite=True")),
        (None, {"resume": True}, ("resume=True", "path")),
        (None, {"overwrite": True}, ("overwrite=True", "path")),
        (3, {}, ("checkpoint", "3", "path")),
        ("", {}, ("checkpoint", "''", "path")),
    ],
)
def test_a_wrong_checkpoint_is_refused_at_once(given, options, parts):
    with pytest.raises(UserError) as caught:
        Checkpoint(given, **options)
    assert all(part in str(caught.value) for part in parts)


def test_a_checkpoint_shows_its_path_and_flags(tmp_path):
    assert repr(Checkpoint("a.npz", resume=True, progress=print)) == "Checkpoint('a.npz', resume=True)"
    assert repr(Checkpoint()) == "Checkpoint()"
    shown = Checkpoint(tmp_path / "<a>.npz")._repr_html_()
    assert "&lt;a&gt;.npz" in shown and "False" in shown


def test_a_path_stands_for_a_new_file():
    assert parse_checkpoint("a.npz") == parse_checkpoint(Path("a.npz")) == Checkpoint("a.npz")
    assert parse_checkpoint(None) == Checkpoint()
    given = Checkpoint("a.npz", resume=True)
    assert parse_checkpoint(given) is given
    with pytest.raises(UserError, match="path"):
        parse_checkpoint(None).read()


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "a.npz", tmp_path, Path("/proc/none/a.npz")):
        with (
            pytest.raises(UserError, match=f"(cannot write|checkpoint is) {place}: "),
            Checkpoint(place, overwrite=True).open(fresh()),
        ):
            pytest.fail("the block must not run")


def test_writing_takes_two_percent_of_the_time(tmp_path, monkeypatch):
    now, writes = 0.0, []

    def slow(_data, _path):
        nonlocal now
        writes.append(now)
        now += 1.0

    monkeypatch.setattr(work, "write", slow)
    monkeypatch.setattr(work.time, "perf_counter", lambda: now)
    with Checkpoint(tmp_path / "a.npz").open(fresh()) as begun:
        for _ in range(120):
            begun.save()
            now += 1.0
    assert writes == [0.0, 51.0, 102.0, 123.0], (
        "at the first piece, 50 s after a write of 1 s, and at the end"
    )


def saved(out: Path, done: int, stop: type[BaseException] | None = KeyboardInterrupt, **flags) -> None:
    """Work that stops after a number of pieces; `level` identifies the work."""
    level = flags.pop("level", 0)
    with Checkpoint(out, **flags).open(fresh(level=level)) as work:
        work.data["value"].values[:done] = 10 * level + np.arange(done)
        work.data["done"].values[:done] = True
        work.save()
        if stop:
            raise stop


def test_differences_are_named_as_the_caller_spells_their_arguments(tmp_path):
    out = Checkpoint(tmp_path / "a.npz")
    with out.open(fresh(), arguments={"steps": "count"}) as work:
        work.save()
    changed = fresh(steps=5, model={"name": "digits", "size": (1, 8)})
    again = Checkpoint(out.path, resume=True)
    cases = [
        ({}, {}, "steps: 50 → 5; model, name: mnist → digits; model, size: "),
        ({}, {"steps": "count"}, "count: 50 → 5; model, name: mnist → digits; model, size: "),
        (
            {"count": "--n", "name": "--model"},
            {"steps": "count"},
            "--n: 50 → 5; --model: mnist → digits; model, size: ",
        ),
    ]
    for flags, arguments, expected in cases:
        context = as_flags(flags) if flags else contextlib.nullcontext()
        with context, pytest.raises(UserError, match=f"differs in {expected}"):
            again.open(changed, arguments=arguments).__enter__()


def test_a_replaced_file_reads_as_before_until_the_new_one_is_finished(tmp_path):
    out = tmp_path / "a.npz"
    saved(out, 4, None)
    before = out.read_bytes()
    for done in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            saved(out, done, overwrite=True, level=1)
        assert out.read_bytes() == before
    with pytest.raises(UserError, match=r"differs in level: 0 → 2"):
        saved(out, 3, None, resume=True, level=2)
    saved(out, 4, None, resume=True, level=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert checkpoint.read(out)["value"].to_numpy().tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_an_interrupted_replacement_is_continued_by_the_same_work(tmp_path, flag):
    out = tmp_path / "a.npz"
    saved(out, 4, None)
    with pytest.raises(KeyboardInterrupt):
        saved(out, 2, overwrite=True, level=1)
    with Checkpoint(out, **{flag: True}).open(fresh(level=1)) as work:
        assert work.data["done"].to_numpy().tolist() == [True, True, False, False]
        assert checkpoint.read(out)["done"].all()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True, "level": 2}])
def test_an_interrupted_replacement_is_removed_by_other_work(tmp_path, options):
    out = tmp_path / "a.npz"
    saved(out, 4, None)
    with pytest.raises(KeyboardInterrupt):
        saved(out, 2, overwrite=True, level=1)
    assert len(list(tmp_path.iterdir())) == 2
    saved(out, 4, None, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_second_computation_is_refused_while_the_first_runs_and_after_it(tmp_path):
    out = tmp_path / "a.npz"
    with Checkpoint(out).open(fresh()) as work:
        for flags in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(UserError, match=r"a\.npz is being written by another process"):
                saved(out, 1, None, level=1, **flags)
        work.data["done"].values[:] = True
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"a\.npz exists"):
        saved(out, 1, None, level=1)
    assert out.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
