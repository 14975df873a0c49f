"""An output is written by one process at a time, completely or not at all, and nothing is left behind."""

import os
import signal
import threading
from pathlib import Path

import pytest

from denoscope.foundation.errors import UserError
from denoscope.foundation.writing import claims, locks
from denoscope.foundation.writing.atomic_files import write_output


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob(".*")}


def in_a_thread(work) -> list[BaseException]:
    """The exception that a function raises in another thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


def claim_once(path: Path) -> None:
    with claims.claimed(path):
        pass


@pytest.mark.parametrize("spelling", ["a.npz", "./a.npz", "folder/../a.npz", "link/a.npz"])
def test_an_output_is_claimed_by_one_however_it_is_spelled(tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with claims.claimed(tmp_path / "a.npz"):
        assert claims.is_held(Path(spelling)) and not claims.is_held(Path("b.npz"))
        for refused in (lambda: claim_once(Path(spelling)), lambda: write(Path(spelling))):
            (error,) = in_a_thread(refused)
            assert (
                isinstance(error, UserError) and str(Path(spelling)) in str(error) and "\n" not in str(error)
            )
        with pytest.raises(UserError, match="another process"):
            claim_once(Path(spelling))
        assert not in_a_thread(lambda: claim_once(tmp_path / "b.npz"))
    claim_once(Path(spelling))
    assert not hidden(tmp_path)


def write(path: Path, content: bytes = b"new") -> None:
    with write_output(path) as file:
        file.write(content)


def test_who_holds_a_claim_writes_under_it(tmp_path):
    with claims.claimed(tmp_path / "a.npz"):
        write(tmp_path / "a.npz")
        write(tmp_path / "b.npz")
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}


def test_who_holds_all_files_of_a_suffix_writes_each_without_a_lock_of_its_own(tmp_path):
    with claims.claimed(tmp_path / "*.npz"):
        with write_output(tmp_path / "a.npz") as file:
            file.write(b"new")
            assert hidden(tmp_path) == {".*.npz.lock", ".a.npz.partial"}
        with write_output(tmp_path / "a.json"):
            assert hidden(tmp_path) == {".*.npz.lock", ".a.json.lock", ".a.json.partial"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.json"}


def test_a_lock_file_that_cannot_be_removed_is_left_to_the_next_writer(tmp_path, monkeypatch):
    out, unlink = tmp_path / "a.npz", os.unlink

    def fails(path, **options):
        if path.name.endswith(".lock"):
            raise OSError(5, "Input/output error")
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr("os.unlink", fails)
        write(out)
    assert out.read_bytes() == b"new" and hidden(tmp_path) == {".a.npz.lock"}
    claim_once(out)
    assert not hidden(tmp_path)


@pytest.mark.parametrize("name", ["a.npz", "x" * 255, "ü" * 127, ".hidden"])
def test_a_name_of_any_length_can_be_claimed(tmp_path, name):
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_claims_that_last_end_with_their_block(tmp_path):
    with claims.lasting():
        claims.claim(tmp_path / "a")
        claims.claim(tmp_path / "a")
        assert claims.is_held(tmp_path / "a")
        assert in_a_thread(lambda: claim_once(tmp_path / "a"))
    assert not claims.is_held(tmp_path / "a") and not list(tmp_path.iterdir())
    claim_once(tmp_path / "a")


@pytest.mark.parametrize("place", ["new/deep/a.npz", "a.npz"])
def test_a_claim_without_a_result_leaves_no_folder(tmp_path, place):
    with pytest.raises(RuntimeError), claims.claimed(tmp_path / place):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with claims.claimed(tmp_path / place):
        write(tmp_path / place)
    assert (tmp_path / place).read_bytes() == b"new"


@pytest.mark.parametrize("place", ["file/a.npz", "folder", "/proc/none/a.npz"])
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"^cannot write {tmp_path / place}: [^\n]*$"):
        claim_once(tmp_path / place)
    assert not hidden(tmp_path)


DIES = """
import os, signal
from denoscope.foundation.writing.atomic_files import write_output
with write_output("a.npz") as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_leaves_is_removed_by_the_next_one_of_the_same_output(recorder, tmp_path):
    out = tmp_path / "a.npz"
    write(out, b"former")
    ended, *_ = recorder.block(tmp_path, code=DIES)
    assert ended == -signal.SIGKILL
    assert hidden(tmp_path) == {".a.npz.lock", ".a.npz.partial"} and out.read_bytes() == b"former"
    write(tmp_path / "b.npz")
    claim_once(out)
    assert not hidden(tmp_path) and out.read_bytes() == b"former"


def test_what_a_living_writer_has_begun_is_left_alone(tmp_path):
    with write_output(tmp_path / "a.npz") as file:
        file.write(b"begun")
        write(tmp_path / "b.npz")
        assert in_a_thread(lambda: claim_once(tmp_path / "a.npz"))
        assert hidden(tmp_path) == {".a.npz.lock", ".a.npz.partial"}
    assert (tmp_path / "a.npz").read_bytes() == b"begun" and not hidden(tmp_path)


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another process, which held the lock, removes its file between this process's `open` and `flock`."""
    path, flock, removed = tmp_path / "lock", locks.fcntl.flock, []

    def remove_first(file: int, how: int) -> None:
        if not removed:
            removed.append(path.unlink())
        flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", remove_first)
    with locks.locked(path, keep_file=False) as held:
        assert held and path.exists() and removed
        monkeypatch.undo()
        with locks.locked(path, keep_file=False) as again:
            assert not again


def test_a_pipe_in_place_of_a_lock_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / ".a.lock")
    with claims.claimed(tmp_path / "a"):
        pass


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_former_file(tmp_path, monkeypatch, call):
    out = tmp_path / "a.npz"
    write(out, b"former")

    def fails(*_arguments, **_options):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open" if call == "open" else f"os.{call}", fails)
        with pytest.raises(UserError, match=r"cannot write .*a\.npz: Input/output error; "):
            write(out)
    assert out.read_bytes() == b"former" and not hidden(tmp_path)


def test_the_file_and_its_name_are_durable_in_this_order(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    write(tmp_path / "a.npz")
    assert synced == [str(tmp_path / ".a.npz.partial"), str(tmp_path)]
