"""The contract of a store, for each kind of store."""

import threading

import pytest
from faulty_store import FaultyStore

from denoscope.storage.stores.byte_store import exists, is_key
from denoscope.storage.stores.capabilities import flush, lock, open_sink
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.stores.memory import MemoryStore
from denoscope.storage.stores.object_store import ObjectStore

KINDS = {
    "local": LocalStore,
    "local with scratch": lambda folder: LocalStore(folder, scratch=".hidden"),
    "memory": lambda _folder: MemoryStore(),
    "faulty": lambda _folder: FaultyStore(),
    "object": lambda _folder: ObjectStore("s3://bucket/a b/store.zarr"),
    "busy object": lambda _folder: ObjectStore("s3://bucket/store.zarr"),
}
KEYS = ("a", "b/c", "b/d/e", "bc", "b/ü ñ", "x%2Fy", ".hidden/f")


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    if "object" in request.param:
        server = request.getfixturevalue("s3")
        if "busy" in request.param:
            server.spoil(every=3)
    return KINDS[request.param](tmp_path / "store")


def test_a_value_is_returned_as_it_was_put(store):
    for number, key in enumerate(KEYS):
        store.put(key, bytes([number]) * number)
    for number, key in enumerate(KEYS):
        assert store.get(key) == bytes([number]) * number


def test_every_byte_and_a_view_of_memory_can_be_put(store):
    values = bytes(range(256))
    store.put("a", memoryview(values))
    assert store.get("a") == values


def test_a_key_that_does_not_exist_has_no_value(store):
    assert store.get("a") is None and store.get("b/c", 2, 3) is None
    store.put("b/c", b"1")
    assert store.get("b") is None and store.get("b/c/d") is None, "neither a folder nor below a value"
    assert exists(store, "b/c") and not exists(store, "b")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (None, None, b"0123456789"), (0, None, b"0123456789"), (3, None, b"3456789"), (3, 2, b"34"), (None, 2, b"01"),
        (-4, None, b"6789"), (-4, 2, b"67"), (-20, None, b"0123456789"), (8, 20, b"89"), (10, 1, b""), (20, 1, b""),
        (0, 0, b""), (4, 0, b""), (None, 0, b""), (None, 20, b"0123456789"),
        (0, 2**50, b"0123456789"), (None, 2**50, b"0123456789"), (-4, 2**50, b"6789"), (20, 2**50, b""),
    ],
)  # fmt: skip
def test_a_range_of_a_value(store, start, length, expected):
    store.put("a", b"0123456789")
    assert store.get("a", start, length) == expected


def test_a_value_is_replaced(store):
    store.put("a", b"former")
    store.put("a", b"new")
    assert store.get("a") == b"new" and list(store.list()) == ["a"]


def test_only_the_first_of_conditional_puts_is_stored(store):
    assert store.put_if_absent("b/lock", b"")
    assert not store.put_if_absent("b/lock", b"")
    assert not store.put_if_absent("b/lock", b"other") and store.get("b/lock") == b""
    store.put("a", b"1")
    assert not store.put_if_absent("a", b"2") and store.get("a") == b"1"
    store.delete("a")
    assert store.put_if_absent("a", b"2") and store.get("a") == b"2"


def test_of_threads_that_put_conditionally_one_succeeds(store):
    ready, stored = threading.Barrier(8), []

    def put(value: bytes) -> None:
        ready.wait()
        stored.append((store.put_if_absent("a", value), value))

    threads = [threading.Thread(target=put, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [value for success, value in stored if success]
    assert store.get("a") == winner and list(store.list()) == ["a"]


def test_keys_are_listed_by_the_text_that_they_start_with(store):
    for key in KEYS:
        store.put(key, b"")
    for prefix in ("", "b", "b/", "b/d/", "b/d/e", "a", "c", "b/ü", ".", "nothing/at/all"):
        assert sorted(store.list(prefix)) == sorted(key for key in KEYS if key.startswith(prefix)), prefix


def test_listed_keys_can_be_deleted_on_the_way(store):
    for number in range(20):
        store.put(f"a/{number}", b"")
    for key in store.list("a/"):
        store.delete(key)
    assert not list(store.list())


def test_deleting_a_missing_key_is_not_an_error(store):
    store.delete("a")
    store.put("b/c", b"1")
    store.delete("b")
    store.delete("b/c/d")
    assert store.get("b/c") == b"1"
    store.delete("b/c")
    store.delete("b/c")
    assert store.get("b/c") is None


@pytest.mark.parametrize("pieces", [[], [b""], [b"one"], [b"one", b"", b"two", bytes(100_000)]])
def test_a_value_in_pieces_exists_once_it_is_finished(store, pieces):
    store.put("a/b", b"former")
    sink = open_sink(store, "a/b")
    for piece in pieces:
        sink.append(memoryview(piece))
        assert store.get("a/b") == b"former" and list(store.list()) == ["a/b"]
    sink.finish()
    assert store.get("a/b") == b"".join(pieces) and list(store.list()) == ["a/b"]


def test_a_piece_is_copied_when_it_is_written(store):
    memory = bytearray(b"first")
    sink = open_sink(store, "a")
    sink.append(memoryview(memory))
    memory[:] = b"other"
    sink.append(memoryview(memory))
    sink.finish()
    assert store.get("a") == b"firstother"


def test_a_discarded_value_leaves_nothing(store):
    sink = open_sink(store, "a/b")
    sink.append(b"1")
    sink.discard()
    assert store.get("a/b") is None and not list(store.list())
    store.put("a/b", b"former")
    sink = open_sink(store, "a/b")
    sink.discard()
    assert store.get("a/b") == b"former"


def test_a_lock_is_held_by_one(store):
    with lock(store, "b/lock") as first:
        assert first
        with lock(store, "b/lock") as second:
            assert not second
        with lock(store, "other") as another:
            assert another
    with lock(store, "b/lock") as again:
        assert again


def test_a_lock_is_free_after_an_error(store):
    with pytest.raises(RuntimeError), lock(store, "lock"):
        raise RuntimeError
    with lock(store, "lock") as held:
        assert held


def test_a_flush_changes_nothing_that_is_read(store):
    store.put("a", b"1")
    store.put("b/c", b"2")
    store.delete("a")
    flush(store)
    flush(store)
    assert store.get("b/c") == b"2" and list(store.list()) == ["b/c"]


def test_a_store_has_a_name_for_messages(store):
    assert str(store) and "\n" not in str(store) and "\n" not in repr(store)


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "./a", "a/."])
def test_invalid_keys_are_refused(text):
    assert not is_key(text)


@pytest.mark.parametrize("text", [*KEYS, "...", "a b", "a\\b", "~", "*"])
def test_valid_keys_are_accepted(text):
    assert is_key(text)
