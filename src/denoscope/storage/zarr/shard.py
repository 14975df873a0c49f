"""One Zarr shard that is written as its chunks arrive: without a buffer, one write a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from denoscope.foundation.checksum import checksum
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import open_sink

MISSING = 2**64 - 1
Encode = Callable[[np.ndarray], bytes]


class Shard:
    """A shard of the `sharding_indexed` codec with its index at the end.

    A shard consists of its chunks' bytes in any order; then, for each chunk position in C order of the grid of chunks,
    the offset and length of its bytes as little-endian uint64, both 2⁶⁴−1 where a chunk is missing; then the CRC-32C of
    that index. It exists under its key once it is finished.

    Source: Zarr v3 specification, codec `sharding_indexed` 1.0.
    """

    def __init__(self, store: ByteStore, key: str, positions: int, encode: Encode | None = None):
        self.key = key
        self.checksums: list[int | None] = [None] * positions
        self._index = np.full((positions, 2), MISSING, dtype="<u8")
        self._encode, self._size = encode, 0
        self._sink = open_sink(store, key)

    def append(self, positions: Sequence[int], chunks: np.ndarray) -> None:
        """Write chunks [len(positions), …], one for each position."""
        encoded = [self._encode(chunk) for chunk in chunks] if self._encode else list(chunks)
        for position, data in zip(positions, encoded, strict=True):
            length = len(data) if isinstance(data, bytes) else data.nbytes
            self._index[position] = self._size, length
            self.checksums[position] = checksum(data)
            self._size += length
        self._sink.append(b"".join(encoded) if self._encode else chunks.data.cast("B"))

    def finish(self) -> None:
        """Write the index and make the shard visible."""
        index = self._index.tobytes()
        self._sink.append(index + checksum(index).to_bytes(4, "little"))
        self._sink.finish()

    def discard(self) -> None:
        """Drop an unfinished shard."""
        self._sink.discard()


def size_of(positions: int, data: int) -> int:
    """Return the bytes of a shard that holds `data` bytes of chunks."""
    return data + 16 * positions + 4


def damage(store: ByteStore, key: str, checksums: Sequence[int | None]) -> dict[int, str]:
    """Return what is wrong with a finished shard by chunk position; position −1 stands for the whole shard.

    Raises: OSError if it cannot be read.
    """
    content = store.get(key)
    if content is None:
        return {-1: "is missing"}
    tail = len(checksums) * 16
    index, stored = content[-tail - 4 : -4], content[-4:]
    if len(content) < tail + 4 or checksum(index) != int.from_bytes(stored, "little"):
        return {-1: "is truncated or its index is damaged"}
    wrong = {}
    for position, ((start, length), expected) in enumerate(
        zip(np.frombuffer(index, "<u8").reshape(-1, 2).tolist(), checksums, strict=True)
    ):
        if expected is None:
            continue
        if start == MISSING:
            wrong[position] = "is missing"
        elif checksum(content[start : start + length]) != expected:
            wrong[position] = "does not match its checksum"
    return wrong
