"""Capabilities that a store may have beyond `ByteStore`, and substitutes for stores without them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar, runtime_checkable

from denoscope.storage.stores.byte_store import ByteStore, Data

T = TypeVar("T")


class ByteSink(Protocol):
    """A value that is written in pieces and exists under its key once it is finished."""

    def append(self, data: Data) -> None:
        """Write the next piece."""

    def finish(self) -> None:
        """Make the value visible under its key."""

    def discard(self) -> None:
        """Drop an unfinished value. The key keeps its former value, if any."""


@runtime_checkable
class AppendableStore(Protocol):
    """A store that takes values piece by piece, such as a local file or a multipart upload."""

    def sink(self, key: str) -> ByteSink:
        """Start a value that is written in pieces."""


@runtime_checkable
class LockableStore(Protocol):
    """A store with locks that end with the process that holds them."""

    def lock(self, key: str) -> AbstractContextManager[bool]:
        """Hold a lock while the block runs; the block gets False if another process holds it."""


@runtime_checkable
class ClaimedStore(LockableStore, Protocol):
    """A store whose locks are claims that say who holds them."""

    def holder(self, key: str) -> str:
        """Say in words who holds a lock; "" if nobody does."""


class WatchableStore(ByteStore, Protocol):
    """A store that reports when keys were written and whether a lock is held."""

    def times(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield the keys that start with a prefix, with the time when each was written, in seconds since 1970."""

    def is_locked(self, key: str) -> bool:
        """Return whether a process holds a lock."""


@runtime_checkable
class DistantStore(Protocol):
    """A store whose requests take long, and of which several can be under way."""

    @property
    def at_once(self) -> int:
        """How many requests to make at once."""


@runtime_checkable
class BufferedStore(Protocol):
    """A store whose values survive a power failure only after a flush."""

    def flush(self) -> None:
        """Make everything durable that was written through this object."""


@runtime_checkable
class FiniteStore(Protocol):
    """A store that knows how much room it has."""

    def free_bytes(self) -> int:
        """Return how many bytes can still be stored."""

    def footprint(self, sizes: Iterable[int]) -> int:
        """Return the bytes that values of these sizes occupy."""

    def size(self, key: str) -> int:
        """Return the size of a value; 0 if the key does not exist."""


class BufferedSink:
    """Collects the pieces of a value in memory and stores them with one `put`."""

    def __init__(self, store: ByteStore, key: str):
        self._store, self._key = store, key
        self._pieces: list[bytes] = []

    def append(self, data: Data) -> None:
        # A copy, since the caller may reuse its memory.
        self._pieces.append(bytes(data))

    def finish(self) -> None:
        self._store.put(self._key, b"".join(self._pieces))
        self._pieces = []

    def discard(self) -> None:
        self._pieces = []


def open_sink(store: ByteStore, key: str) -> ByteSink:
    """Start a value that is written in pieces, in the store's own way if it has one."""
    return store.sink(key) if isinstance(store, AppendableStore) else BufferedSink(store, key)


def flush(store: ByteStore) -> None:
    """Make everything durable that was written through this object."""
    if isinstance(store, BufferedStore):
        store.flush()


def each(store: ByteStore, request: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
    """Yield the result of a request for each key, in their order; a distant store gets several requests at once."""
    if not isinstance(store, DistantStore):
        yield from map(request, keys)
        return
    running: deque[Future[T]] = deque()
    with ThreadPoolExecutor(store.at_once) as pool:
        for key in keys:
            if len(running) == 2 * store.at_once:  # results that nobody has taken yet stay few
                yield running.popleft().result()
            running.append(pool.submit(request, key))
        while running:
            yield running.popleft().result()


def holder(store: ByteStore, key: str) -> str:
    """Say who holds a lock, as an addition to a message; "" where the store does not know."""
    words = store.holder(key) if isinstance(store, ClaimedStore) else ""
    return f" ({words})" if words else ""


@contextmanager
def lock(store: ByteStore, key: str) -> Iterator[bool]:
    """Hold a lock while the block runs; the block gets False if another process holds it.

    In a store without locks of its own, the existence of the key is the lock; a killed process leaves it behind.
    """
    if isinstance(store, LockableStore):
        with store.lock(key) as held:
            yield held
        return
    held = store.put_if_absent(key, b"")
    try:
        yield held
    finally:
        if held:
            store.delete(key)
