"""Features of a local folder beyond the contract of a store, and how its files appear."""

import os
from pathlib import Path

import pytest

from denoscope.storage.stores.local import LocalStore


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_a_key_is_a_file(store):
    store.put("a/b.json", b"1")
    assert (store.root / "a" / "b.json").read_bytes() == b"1" and files(store.root) == {"a/b.json"}


@pytest.mark.parametrize("key", ["../a", "/etc/passwd", "a/../../b", ""])
def test_no_key_leads_out_of_the_folder(store, key):
    store.put("a", b"")
    for operation in (store.get, store.delete, store.sink, lambda key: store.put(key, b"")):
        with pytest.raises(ValueError, match="is not a key"):
            operation(key)


def test_a_link_to_a_folder_outside_is_not_followed_by_deletions(store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("mine")
    store.put("b", b"")
    (store.root / "link").symlink_to(tmp_path / "elsewhere")
    assert set(store.list()) == {"b", "link"} and list(store.links()) == [store.root / "link"]
    store.delete("link/a")
    assert (tmp_path / "elsewhere" / "a").read_text() == "mine"
    store.delete("link")
    assert not (store.root / "link").is_symlink()


def test_an_error_of_the_disk_is_not_a_missing_key(store, monkeypatch):
    store.put("a", b"1")

    def fails(*_arguments, **_options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(OSError, match="Input/output"):
        store.get("a")


def test_a_folder_that_cannot_be_listed_is_an_error(store, monkeypatch):
    store.put("a", b"1")

    def fails(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.scandir", fails)
    with pytest.raises(OSError, match="Input/output"):
        list(store.list())


@pytest.mark.parametrize("scratch", ["", "own"])
def test_a_put_that_fails_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch, scratch):
    store = LocalStore(tmp_path / "store", scratch=scratch)
    store.put("own/a", b"former")
    store.put("b", b"former")
    before = files(store.root)

    def fails(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    for key in ("own/a", "b", "c"):
        with pytest.raises(OSError, match="No space"):
            store.put(key, b"new")
    monkeypatch.undo()
    assert files(store.root) == before and store.get("own/a") == store.get("b") == b"former"


def test_temporary_files_lie_in_the_scratch_folder(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "store", scratch="own")
    store.put("own/a", b"")
    replaced = []
    replace = os.replace
    monkeypatch.setattr(
        "os.replace", lambda source, target: (replaced.append(source), replace(source, target))
    )
    store.put("b/c", b"1")
    assert replaced[0].parent == store.root / "own"


def test_files_of_killed_processes_are_not_listed_and_are_removed_on_request(store):
    store.put("a/b", b"1")
    unfinished = store.sink("c/d")
    unfinished.append(b"2")
    assert set(store.list()) == {"a/b"} and len(files(store.root)) == 2
    store.remove_partial(["a"])
    assert len(files(store.root)) == 2
    store.remove_partial(["a", "c"])
    assert files(store.root) == {"a/b"}
    store.remove_empty_folders(["a", "c"])
    assert {path.name for path in store.root.iterdir()} == {"a"}


def test_a_value_whose_temporary_file_was_removed_fails_and_leaves_the_finished_one(store):
    """A writer that was taken for dead, and whose files another one cleans away, goes on writing."""
    store.put("a/b", b"headtail")
    sink = store.sink("a/b")
    sink.append(b"head")
    assert store.remove_partial(["a"]) == 1
    with pytest.raises(FileNotFoundError):
        sink.append(b"tail")
    with pytest.raises(FileNotFoundError):
        sink.finish()
    sink.discard()
    assert store.get("a/b") == b"headtail" and files(store.root) == {"a/b"}


def test_more_values_than_a_process_may_hold_open_are_written_side_by_side(store):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Tests before this one in the same process may have left files open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, hard))
    try:
        sinks = [store.sink(str(number)) for number in range(80)]
        for sink in sinks:
            sink.append(b"1")
        for sink in sinks:
            sink.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list(store.list())) == 80


def test_a_flush_reaches_every_file_that_was_written_and_its_folder_once(store, monkeypatch):
    flushed = []
    monkeypatch.setattr("os.fsync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    store.put("a/b", b"1")
    store.put_if_absent("c", b"2")
    sink = store.sink("d/e")
    sink.append(b"3")
    sink.finish()
    store.put("gone", b"4")
    store.delete("gone")
    assert not flushed
    store.flush()
    root = str(store.root)
    assert sorted(flushed) == sorted(
        [f"{root}/a", f"{root}/a/b", root, f"{root}/c", f"{root}/d", f"{root}/d/e"]
    )
    store.flush()
    assert len(flushed) == 6


def test_sizes_are_those_of_files_and_occupied_blocks(store, tmp_path):
    block = os.statvfs(tmp_path).f_frsize
    assert store.footprint([1, block, block + 1, 0]) == 4 * block
    store.put("a", b"12345")
    assert store.size("a") == 5 and store.size("b") == 0
    assert LocalStore(tmp_path / "not" / "there").free_bytes() > 0
