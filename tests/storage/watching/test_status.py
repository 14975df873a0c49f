"""How far a recording is, from its marks and the notes of its workers."""

import contextvars
import datetime
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from outputs import OUTPUTS, record_all

import denoscope as ds
from denoscope.foundation.writing.locks import locked
from denoscope.storage.formats import FORMATS, store_of
from denoscope.storage.watching import start, work_notes
from denoscope.storage.watching.status import status
from denoscope.storage.watching.work_notes import NotesFile, WorkNotes

LANES, COUNT, DONE = 2, 9, 6
OPTIONS = {"steps": 2, "lanes": LANES, "batch_size": LANES}


@pytest.fixture(scope="module")
def x(tiny):
    return ds.noise.random(COUNT, tiny.shape, seed=0)


@pytest.fixture(scope="module")
def whole(tiny, x, tmp_path_factory):
    """Recordings of nine samples."""
    return record_all(tmp_path_factory.mktemp("whole"), tiny, x, **OPTIONS)


@pytest.fixture(params=OUTPUTS)
def half(request, whole, tmp_path):
    """The same without the last two marks, as after a kill: six samples are done."""
    path = shutil.copytree(whole / request.param, tmp_path / request.param)
    for group in (3, 4):
        (path / kind_of(path).layout.MARKS / f"{group}.json").unlink()
    return path


def kind_of(path):
    return FORMATS["zarr" if path.suffix else "pt"]


def marked_at(path: Path, *moments: int) -> None:
    """Set the times of the first marks."""
    for group, moment in enumerate(moments):
        os.utime(path / kind_of(path).layout.MARKS / f"{group}.json", (moment, moment))


def written(path):
    """Hold the lock of a recording, as its writer does."""
    return store_of(path, "zarr").lock(kind_of(path).layout.LOCK)


def test_what_is_done_is_counted_and_how_to_finish_is_said(half, tiny, x):
    found = status(half)
    assert (found.done, found.samples, found.is_written, found.remaining) == (DONE, COUNT, False, None)
    assert found.lines == [
        f"{half}: 6 of 9 samples are done (67%)",
        "  nobody writes it; resume it (resume=True)",
    ]
    ds.record(tiny, x, half, resume=True, **OPTIONS)
    assert status(half).lines == [f"{half}: 9 of 9 samples are done"]


def test_the_rate_is_that_of_the_recent_marks(half):
    marked_at(half, 10_000, 10_010, 10_020)
    assert status(half).rate == 4 / 20
    with written(half) as held:
        assert held
        found = status(half)
    assert found.is_written and found.remaining == 3 / (4 / 20)
    assert found.lines[1] == "  being written by one process, 0.2 samples/s, 15 s remaining"
    marked_at(half, 1_000, 10_010, 10_020)  # the run was interrupted and resumed
    assert status(half).rate == 2 / 10
    marked_at(half, 1_000, 2_000, 10_000)
    assert status(half).rate == 2 / 8_000
    marked_at(half, 1_000, 1_000, 1_000)
    assert status(half).rate is None


def test_the_rate_of_a_new_run_counts_from_its_beginning(half):
    """The first samples of several workers end at nearly the same moment."""
    path = half / kind_of(half).layout.FILE.name
    begun = datetime.datetime.fromtimestamp(10_000, datetime.UTC).isoformat(timespec="seconds")
    path.write_text(re.sub(r'("created": )"[^"]*"', rf'\1"{begun}"', path.read_text()))
    marked_at(half, 10_050, 10_050, 10_051)
    assert status(half).rate == 6 / 51
    marked_at(half, 10_005, 10_601, 10_611)
    assert status(half).rate == 2 / 10
    path.write_text(path.read_text().replace(begun, "yesterday"))
    assert status(half).rate == 2 / 10


def test_a_recording_that_is_replaced_is_followed_in_its_new_place(half, tiny, x, dies_at):
    dies_at(tiny.network, 1 + 3 * 2)  # in the second unit, after the probe and three steps of two groups
    with pytest.raises(RuntimeError, match="died on purpose"):
        ds.record(tiny, x, half, overwrite=True, **OPTIONS | {"steps": 3, "batch_size": 4})
    found = status(half)
    assert found.done == 4 and found.lines[0].startswith(f"{half}, what replaces it: 4 of 9")


def test_workers_are_shown_while_they_work_and_what_failed_until_it_is_resumed(half, tiny, x):
    store, marks = store_of(half, "zarr"), kind_of(half).layout.MARKS
    with NotesFile(store, marks) as notes:
        notes.set_aside("unit 2", "ValueError: no\x1b[2J", 2)
        notes.update(3, 1)
        with written(half):
            lines = status(half).lines
        assert lines[1].startswith("  being written by 3 workers, 1 sample running")
        failed = [
            "  failed: 2 samples, tried again when resumed",
            r"    unit 2: ValueError: no\x1b[2J",
        ]
        assert lines[2:] == failed
    assert status(half).lines[2:] == failed and not status(half).notes.workers
    ds.record(tiny, x, half, resume=True, **OPTIONS)
    assert status(half).notes == WorkNotes() and status(half).done == COUNT
    assert not (half / marks / work_notes.NAME).exists()


def test_notes_of_a_run_without_failures_are_removed(half):
    store, marks = store_of(half, "zarr"), kind_of(half).layout.MARKS
    with NotesFile(store, marks) as notes:
        notes.update(3, 1)
        assert work_notes.read(store, marks) == WorkNotes(3, 1)
    assert work_notes.read(store, marks) == WorkNotes()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", pytest.param("[" * 100_000, id="deep"), '{"workers": -1}', '{"failed": {"unit": 1}}'],
)
def test_damaged_notes_are_ignored(half, content):
    (half / kind_of(half).layout.MARKS / work_notes.NAME).write_text(content)
    assert status(half).notes == WorkNotes()


def test_a_recording_that_is_prepared_is_starting_until_its_output_is_locked(half, tmp_path):
    by = rf"process {os.getpid()} on {re.escape(socket.gethostname())}"
    for path, told in ((half, "6 of 9 samples"), (tmp_path / "new" / "run.zarr", f"starting, by {by}")):
        with start.announced(path):
            found = status(path)
            assert found.goes_on and not found.is_written and found.samples == (9 if path == half else 0)
            assert re.match(f"{re.escape(str(path))}: {told}", found.lines[0])
            assert len(found.lines) == 1 or re.fullmatch(f"  starting, by {by}", found.lines[1])
            with pytest.raises(ds.UserError, match=f"is being written by another process .{by}."):
                contextvars.Context().run(start.announced(path).__enter__)
            start.end()
            assert not start.who(path)
        assert not list(tmp_path.rglob("*.start"))
    assert not (tmp_path / "new").exists()


def test_what_somebody_else_wrote_beside_a_recording_is_not_trusted(tmp_path):
    file = tmp_path / ".run.zarr.start"
    for content in ("", "{", "[]", "[" * 100_000, '{"pid": 1}', '{"pid": 1, "host": "\\u001b[2J"}'):
        file.write_text(content)
        with pytest.raises(ds.UserError, match="no such recording"):
            status(tmp_path / "run.zarr")
        with locked(file, keep_file=True):
            line = status(tmp_path / "run.zarr").lines[0]
        assert line.endswith(("starting, by another process", r"by process 1 on \x1b[2J"))


def test_a_recording_that_cannot_be_announced_starts_without_it():
    with start.announced(Path("/proc/none/run.zarr")):
        assert not start.who(Path("/proc/none/run.zarr"))


def test_a_recording_that_has_just_begun_is_reported(tmp_path):
    path = tmp_path / "run.zarr"
    path.mkdir()
    with written(path), pytest.raises(ds.UserError, match=r"run.zarr has just begun; ask again"):
        status(path)
    with pytest.raises(ds.UserError, match="is not a recording"):
        status(path)


def test_damage_is_reported(half):
    root = half / kind_of(half).layout.FILE.name
    content = json.loads(root.read_text())
    content.pop("samples", None)
    content.pop("consolidated_metadata", None)
    root.write_text(json.dumps(content))
    with pytest.raises(ds.UserError, match="is damaged"):
        status(half)
