"""The interface to storage: bytes by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

Data = bytes | memoryview
"""What can be written: a contiguous run of bytes."""


class ByteStore(Protocol):
    """Bytes by key. `str(store)` names the store in messages.

    Keys are relative paths in POSIX notation, such as `conv_in/c/0/0`, without empty parts, `.` or `..`. These five
    methods are all that a recording needs, and each maps to one request of an object store. `capabilities` lists what
    a store may offer beyond them.
    """

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes | None:
        """Return the bytes of a key, or None if the key does not exist.

        `start` and `length` select a range. A negative `start` counts from the end; a range that reaches beyond the
        end stops there.

        Raises: OSError if the key cannot be read. That says nothing about what is stored.
        """

    def put(self, key: str, data: Data) -> None:
        """Store bytes under a key. Readers see the former bytes or the new ones, never a part of either."""

    def put_if_absent(self, key: str, data: Data) -> bool:
        """Store bytes as `put` does, but only if the key does not exist; return whether they were stored."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with `prefix`, in any order. Keys may be deleted meanwhile."""

    def delete(self, key: str) -> None:
        """Remove a key, if it exists."""


def exists(store: ByteStore, key: str) -> bool:
    """Return whether a key exists."""
    return store.get(key, 0, 0) is not None


def is_key(text: str) -> bool:
    """Return whether a text can be a key."""
    return {"", ".", ".."}.isdisjoint(text.split("/")) and "\0" not in text
