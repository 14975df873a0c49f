"""A recording that replaces another one: until it is complete, the former one reads as before."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from small_plans import FORMATS, SAMPLES, plan_of, values_of, write, write_groups

from denoscope.foundation.errors import UserError
from denoscope.storage import formats, replacement
from denoscope.storage.stores.local import LocalStore

FOREIGN = ("notes.txt", "my_analysis/result.npz", "nested.zarr/zarr.json", "nested.zarr/a/c/0", ".hidden")
"""What a user may put into an output."""


def out(folder: Path, format: str) -> Path:
    return folder / ("run.zarr" if format == "zarr" else "run")


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def reads_as(path: Path, scheduler: str) -> bool:
    """Whether a recording is complete and is the one with this attribute."""
    data = formats.open_dataset(LocalStore(path))
    right = all(
        np.array_equal(data[array.name].to_numpy(), values_of(array), equal_nan=True)
        for array in plan_of("pt").arrays
    )
    assert right and data["complete"].values.all() and data.sizes["sample"] == SAMPLES
    return data.attrs["fingerprint"]["scheduler"] == scheduler


AMONG_OTHERS = pytest.mark.parametrize("former", ["among others"], indirect=True)


class Stopped(Exception):
    """Ends a writer."""


def replace(
    path: Path, format: str, *, existing="overwrite", stops_after: int | None = None, **fingerprint
) -> list[int]:
    """Replace a recording completely, or only its first groups; returns the groups finished before."""
    plan, store = plan_of(format, **fingerprint), formats.store_of(path, format)
    groups = None if stops_after is None else range(stops_after)
    if groups is None:
        return write(store, plan, existing)
    with pytest.raises(Stopped), formats.FORMATS[format].writer.opened(store, plan, existing) as writer:
        write_groups(writer, plan, groups)
        raise Stopped
    return []


@pytest.fixture(params=["alone", "among others"])
def former(request, tmp_path):
    """Make a finished recording, alone or among the user's files; returns them."""

    def make(format: str) -> tuple[Path, dict[str, bytes]]:
        path = out(tmp_path, format)
        write(formats.store_of(path, format), plan_of(format, scheduler="former"))
        for name in FOREIGN if request.param == "among others" else ():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(name.encode())
        return path, files(path)

    return make


@pytest.mark.parametrize("format", FORMATS)
def test_the_former_recording_reads_as_before_until_the_new_one_is_complete(former, format, tmp_path):
    path, before = former(format)
    for stops_after in (0, 2):
        replace(path, format, stops_after=stops_after, scheduler="new")
        now = files(path)
        assert {name: now[name] for name in before} == before
        assert all(name.startswith(".replacement/") for name in now.keys() - before)
        assert reads_as(path, "former")
    assert replace(path, format, scheduler="new") == [0, 1], "the same work goes on"
    assert reads_as(path, "new")
    foreign = {name: data for name, data in before.items() if name in FOREIGN}
    unbroken = out(tmp_path / "unbroken", format)
    write(formats.store_of(unbroken, format), plan_of(format, scheduler="new"))
    assert files(path) == files(unbroken) | foreign
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "unbroken"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("existing", "scheduler", "finished"),
    [
        ("resume", "new", [0, 1]),
        ("resume", "former", [0, 1, 2]),
        ("overwrite", "new", [0, 1]),
        ("overwrite", "another", []),
    ],
)
def test_an_interrupted_replacement_is_continued_or_cleaned_up(
    former, tmp_path, format, existing, scheduler, finished
):
    path, _ = former(format)
    replace(path, format, stops_after=2, scheduler="new")
    assert replace(path, format, existing=existing, scheduler=scheduler) == finished
    assert reads_as(path, scheduler)
    assert not [name for name in files(tmp_path) if "replacement" in name or ".committed" in name]


@AMONG_OTHERS
@pytest.mark.parametrize("format", FORMATS)
def test_a_resume_of_other_work_is_refused_and_keeps_both(former, tmp_path, format):
    path, _ = former(format)
    replace(path, format, stops_after=2, scheduler="new")
    before = files(tmp_path)
    for existing, message in (
        ("resume", "scheduler: former → another"),
        ("refuse", "already holds a recording"),
    ):
        with pytest.raises(UserError, match=message):
            replace(path, format, existing=existing, scheduler="another")
        assert files(tmp_path) == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("former", "system", "every"),
    [
        ("alone", "exchanges", 61),
        ("among others", "only renames", 61),
        *(
            pytest.param(former, system, 1, marks=pytest.mark.slow)
            for former in ("alone", "among others")
            for system in ("exchanges", "only renames")
        ),
    ],
    indirect=["former"],
)
def test_whichever_step_of_the_exchange_fails_readers_see_one_recording_whole(
    former, tmp_path, monkeypatch, format, system, every
):
    """Each removal, rename and flush of the commit fails in turn, or every few; the next writer finishes it."""
    path, _ = former(format)
    replace(path, format, stops_after=3, scheduler="new")
    if system == "only renames":
        monkeypatch.setattr(replacement, "_exchange", lambda *_: False)
    before, seen, number, failing = files(tmp_path), set(), 1, True
    while failing:
        restore(tmp_path, before)
        failing = commit_fails_at(number, path, format, monkeypatch)
        seen.add("former" if reads_as(path, "former") else "new")
        assert failing or reads_as(path, "new")
        number += every
        # The next claim completes or undoes the replacement, even if it is refused.
        with pytest.raises(UserError, match="already holds a recording"):
            replace(path, format, existing="refuse", scheduler="new")
        replace(path, format, existing="resume", scheduler="new")
        assert reads_as(path, "new")
        assert not [name for name in files(tmp_path) if "replacement" in name or ".committed" in name]
    assert "new" in seen and (every > 1 or seen == {"former", "new"}) and number > 8
    print(f"operations that failed: {number - every - 1}")


def restore(folder: Path, content: dict[str, bytes]) -> None:
    import shutil

    for entry in folder.iterdir():
        shutil.rmtree(entry)
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def refused(work) -> str:
    """The message of a UserError; empty if there is none."""
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def commit_fails_at(number: int, path: Path, format: str, monkeypatch) -> bool:
    """Finish a replacement whose operation of this number fails; returns whether there was one."""
    count = 0

    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                raise OSError(5, "Input/output error")
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "rmdir", "fsync", "mkdir"):
            patched.setattr(os, name, counted(getattr(os, name)))
        patched.setattr(replacement, "_exchange", counted(replacement._exchange))
        message = refused(lambda: replace(path, format, existing="resume", scheduler="new"))
        assert not message or ("Input/output error" in message and "\n" not in message)
        return count >= number


@AMONG_OTHERS
@pytest.mark.parametrize("format", FORMATS)
def test_a_second_writer_is_refused_while_a_replacement_is_written(former, format):
    path, _ = former(format)
    plan, store = plan_of(format, scheduler="new"), formats.store_of(path, format)
    with formats.FORMATS[format].writer.opened(store, plan, "overwrite") as writer:
        for existing in ("overwrite", "resume"):
            with pytest.raises(UserError, match="is being written by another process"):
                replace(path, format, existing=existing, scheduler="new")
        with pytest.raises(UserError, match="is being written by another process"):
            formats.set_attribute(path, "note", 1)
        write_groups(writer, plan, plan.groups)
    assert reads_as(path, "new")


REACHES_OUT = {"former": [], "gone": ["../precious"]}


@pytest.mark.parametrize("existing", ["overwrite", "resume"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "committed",
    [
        REACHES_OUT,
        {"former": ["linked/precious"], "gone": []},
        {"former": ["/precious"], "gone": []},
        {"former": ["a\0b"], "gone": []},
        {"former": 3, "gone": []},
        {},
        [],
        "{",
        "[" * 100_000,
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_replacement_that_others_made_cannot_reach_another_folder(tmp_path, format, existing, committed):
    """A store that was unpacked from an archive may hold the hidden folder, with any content."""
    path = out(tmp_path / "unpacked", format)
    write(formats.store_of(path, format), plan_of(format, scheduler="former"))
    (tmp_path / "unpacked" / "precious").write_text("")
    (path / "linked").symlink_to(tmp_path / "unpacked")
    (path / ".replacement").mkdir()
    content = committed if isinstance(committed, str) else json.dumps(committed)
    (path / ".replacement" / ".committed").write_text(content)
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"\.committed|leads out of") as caught:
        replace(path, format, existing=existing, scheduler="former")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert files(tmp_path) == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("committed", [True, False])
def test_a_link_in_the_place_of_a_replacement_is_not_followed(tmp_path, format, committed):
    path = out(tmp_path, format)
    write(formats.store_of(path, format), plan_of(format, scheduler="former"))
    (precious := tmp_path / "precious").mkdir()
    (precious / "file").write_text("")
    if committed:
        (precious / ".committed").write_text(json.dumps(REACHES_OUT))
    before = files(precious)
    (path / ".replacement").symlink_to(precious)
    if format == "zarr":  # a store with links is refused
        with pytest.raises(UserError, match="leads out of"):
            replace(path, format, scheduler="new")
    else:
        replace(path, format, scheduler="new")
    assert reads_as(path, "former" if format == "zarr" else "new") and files(precious) == before


def test_a_group_of_another_program_in_the_store_is_not_replaced(tmp_path):
    path = out(tmp_path, "zarr")
    write(formats.store_of(path, "zarr"), plan_of("zarr", scheduler="former"))
    (path / "my_layer").mkdir()
    (path / "my_layer" / "zarr.json").write_text("{}")
    import dataclasses

    plan = plan_of("zarr", scheduler="new")
    mine = dataclasses.replace(plan.arrays[1], name="my_layer")
    wanted = dataclasses.replace(plan, arrays=(*plan.arrays, mine))
    with pytest.raises(UserError, match=r"run\.zarr/my_layer is not part of the recording"):
        write(formats.store_of(path, "zarr"), wanted, "overwrite")
    assert (path / "my_layer" / "zarr.json").read_text() == "{}"
