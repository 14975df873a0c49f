"""Files that appear in a folder together, whichever move fails."""

import contextlib
import os
from pathlib import Path

import pytest

from denoscope.foundation.errors import UserError
from denoscope.foundation.writing import staged_files as module
from denoscope.foundation.writing.staged_files import check_finished, staged_files

FORMER = {"set.json": "former", "a.pt": "1", "b.pt": "1", "c.pt": "1", "mine.txt": "mine"}
NEW = {"set.json": "new", "a.pt": "2", "b.pt": "2", "deep/d.pt": "2", "mine.txt": "mine"}


def write(folder: Path) -> None:
    with staged_files(folder / "set.json", overwrite=True, stale=lambda: ["c.pt"]) as staged:
        (staged / "deep").mkdir(parents=True)
        for name, content in NEW.items():
            if name != "mine.txt":
                (staged / name).write_text(content)


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


class Killed(BaseException):
    """Ends a process, as far as its files are concerned."""


@pytest.mark.parametrize("leftovers", ["kept, as after a kill", "removed, as after an error"])
def test_a_writer_that_stops_between_any_two_moves_is_seen_and_finished_by_the_next(
    tmp_path, monkeypatch, leftovers
):
    number, unfinished, whole = 0, 0, False
    while not whole:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in FORMER.items():
            (folder / name).write_text(text)
        whole = stopped_at(number, folder, monkeypatch, kept="kept" in leftovers)
        if message := problem(folder):
            unfinished += 1
            assert "set.json" in message and str(folder) in message and "\n" not in message
            # No former manifest describes the mixture, also for those who read it without denoscope.
            former = content(folder).get("set.json") == "former"
            assert not former or FORMER.items() <= content(folder).items()
        else:
            shown = {name: text for name, text in content(folder).items() if not name.startswith(".")}
            assert shown in (FORMER, NEW)
        write(folder)
        assert content(folder) == NEW
        check_finished(folder)
    # One after each removal and each move but the last.
    assert unfinished >= 5 and number > 7


def problem(folder: Path) -> str:
    """Why the folder is refused; empty if it is not."""
    try:
        check_finished(folder)
    except UserError as error:
        return str(error)
    return ""


def stopped_at(number: int, folder: Path, monkeypatch, *, kept: bool) -> bool:
    """Write until the operation of this number; returns whether there are fewer."""
    count = 0

    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                raise Killed if kept else OSError(28, "No space left on device")
            if count > number and kept:  # a killed process does nothing more
                raise Killed
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
            patched.setattr(os, name, counted(getattr(os, name)))
        with contextlib.suppress(Killed, UserError, OSError):
            write(folder)
    return count < number


def test_a_list_of_files_to_remove_cannot_reach_another_folder(tmp_path):
    (folder := tmp_path / "inputs").mkdir()
    (tmp_path / "precious").write_text("")
    (hidden := folder / ".set.json.unfinished").mkdir()
    (hidden / ".removed.json").write_text('["../precious", ".."]')
    write(folder)
    assert (tmp_path / "precious").exists()


def test_a_file_of_the_same_name_as_a_claim_that_is_not_written_stays(tmp_path):
    (tmp_path / "all.png").write_text("mine")
    with staged_files(tmp_path / "all.png", overwrite=True) as staged:
        (staged / "one.png").write_text("new")
    assert content(tmp_path) == {"all.png": "mine", "one.png": "new"}


def test_a_block_that_writes_nothing_removes_stale_files_alone(tmp_path):
    with staged_files(tmp_path / "set.json", overwrite=False):
        pass
    assert content(tmp_path) == {}
    for name in ("old.pt", "mine.pt"):
        (tmp_path / name).write_text("")
    with staged_files(tmp_path / "set.json", overwrite=True, stale=lambda: ["old.pt"]):
        pass
    assert content(tmp_path) == {"mine.pt": ""} and list(tmp_path.iterdir()) == [tmp_path / "mine.pt"]


def test_files_and_the_folders_that_name_them_are_durable_before_the_first_is_moved(tmp_path, monkeypatch):
    synced, at_rename, rename = set(), [], os.rename

    def renamed(source, target):
        hidden = Path(source)
        at_rename.extend([hidden, *hidden.rglob("*")])
        assert set(at_rename) <= synced
        rename(source, target)

    monkeypatch.setattr(module, "sync", synced.add)
    monkeypatch.setattr(os, "rename", renamed)
    write(tmp_path)
    assert {path.name for path in at_rename} >= {"a.pt", "deep", "d.pt", "set.json"}


def test_the_output_that_the_caller_writes_again_is_known_by_any_spelling(tmp_path, monkeypatch):
    (folder := tmp_path / "inputs").mkdir()
    (tmp_path / "link").symlink_to(folder)
    (folder / ".set.json.unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    for spelling in (folder, tmp_path / "link", Path("inputs"), folder / ".." / "inputs"):
        check_finished(spelling, besides=Path("link") / "set.json")
        with pytest.raises(UserError, match=r"set\.json"):
            check_finished(spelling, besides=Path("link") / "other.json")
