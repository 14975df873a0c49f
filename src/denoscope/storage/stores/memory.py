"""A store in the memory of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import torch

from denoscope.foundation import memory
from denoscope.storage.stores.byte_store import Data


class MemoryStore:
    """A dictionary of values."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes | None:
        value = self._values.get(key)
        if value is None or (start is None and length is None):
            return value
        first = slice(start, None).indices(len(value))[0]
        return value[first:] if length is None else value[first : first + length]

    def put(self, key: str, data: Data) -> None:
        value = bytes(data)
        with self._lock:
            self._values[key] = value

    def put_if_absent(self, key: str, data: Data) -> bool:
        value = bytes(data)
        with self._lock:
            if key in self._values:
                return False
            self._values[key] = value
            return True

    def list(self, prefix: str = "") -> Iterator[str]:
        with self._lock:
            keys = list(self._values)
        return (key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        with self._lock:
            self._values.pop(key, None)

    def free_bytes(self) -> int:
        return memory.free_bytes(torch.device("cpu"))

    def footprint(self, sizes: Iterable[int]) -> int:
        return sum(sizes)

    def size(self, key: str) -> int:
        return len(self._values.get(key, b""))

    def __str__(self) -> str:
        return "memory"

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self._values)} keys, {sum(map(len, self._values.values()))} bytes>"
