"""A store whose n-th operation fails."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from denoscope.storage.stores.byte_store import ByteStore, Data
from denoscope.storage.stores.memory import MemoryStore


class FaultyStore:
    """Five methods over another store; operation number `fails_at`, counted from 1, raises an OSError.

    The operation that fails leaves the store as it was, or has done its work unseen (`unseen`), as a request to an object
    store that is answered too late. It offers nothing beyond the five methods.
    """

    def __init__(self, store: ByteStore | None = None, *, fails_at: int = 0, unseen: bool = False):
        self.store = MemoryStore() if store is None else store
        self.fails_at, self.unseen = fails_at, unseen
        self.operations: list[str] = []

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes | None:
        self._count(f"get {key}")
        return self.store.get(key, start, length)

    def put(self, key: str, data: Data) -> None:
        if self._counts(f"put {key}"):
            if self.unseen:
                self.store.put(key, data)
            raise self._error()
        self.store.put(key, data)

    def put_if_absent(self, key: str, data: Data) -> bool:
        if self._counts(f"put_if_absent {key}"):
            if self.unseen:
                self.store.put_if_absent(key, data)
            raise self._error()
        return self.store.put_if_absent(key, data)

    def list(self, prefix: str = "") -> Iterator[str]:
        self._count(f"list {prefix}")
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        if self._counts(f"delete {key}"):
            if self.unseen:
                self.store.delete(key)
            raise self._error()
        self.store.delete(key)

    def _counts(self, operation: str) -> bool:
        """Whether this operation is the one that fails."""
        self.operations.append(operation)
        return len(self.operations) == self.fails_at

    def _count(self, operation: str) -> None:
        if self._counts(operation):
            raise self._error()

    def _error(self) -> OSError:
        return OSError(errno.EIO, "Input/output error")

    def __str__(self) -> str:
        return "faulty"
