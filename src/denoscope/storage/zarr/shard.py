"""One Zarr shard written as its chunks arrive: no buffer, one write a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from denoscope.foundation.checksum import checksum

MISSING = 2**64 - 1
Encode = Callable[[np.ndarray], bytes]


class Shard:
    """A shard of the `sharding_indexed` codec with its index at the end.

    A shard is its chunks' bytes in any order, then for each chunk position (in C order of the grid of
    chunks) the offset and length of its bytes as little-endian uint64, both 2⁶⁴−1 where a chunk is
    missing, then the CRC-32C of that index. The file takes its name when it is whole.

    Source: Zarr v3 specification, codec `sharding_indexed` 1.0.
    """

    def __init__(self, path: Path, positions: int, encode: Encode | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        self.index = np.full((positions, 2), MISSING, dtype="<u8")
        self.checksums: list[int | None] = [None] * positions
        self.file = open(self.partial, "wb", buffering=0)  # noqa: SIM115 - closed by finish or discard
        self.encode, self.size = encode, 0

    def append(self, positions: Sequence[int], chunks: np.ndarray) -> None:
        """Write chunks [len(positions), …], one for each position, with one write where nothing is encoded."""
        encoded = [self.encode(chunk) for chunk in chunks] if self.encode else list(chunks)
        for position, data in zip(positions, encoded, strict=True):
            length = len(data) if isinstance(data, bytes) else data.nbytes
            self.index[position] = self.size, length
            self.checksums[position] = checksum(data)
            self.size += length
        self._write(b"".join(encoded) if self.encode else chunks.data.cast("B"))

    def finish(self) -> None:
        """Write the index and give the file its name."""
        index = self.index.tobytes()
        self._write(index + checksum(index).to_bytes(4, "little"))
        self.file.close()
        os.replace(self.partial, self.path)

    def discard(self) -> None:
        """Forget an unfinished shard."""
        self.file.close()
        self.partial.unlink(missing_ok=True)

    def _write(self, data: bytes | memoryview) -> None:
        written = 0
        while written < len(data):
            written += self.file.write(data[written:])


def size_of(positions: int, data: int) -> int:
    """Bytes of a shard that holds `data` bytes of chunks."""
    return data + 16 * positions + 4


def damage(path: Path, checksums: Sequence[int | None]) -> dict[int, str]:
    """What is wrong with a finished shard, by chunk position; position −1 stands for the whole file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return {-1: f"cannot be read ({error.strerror})"}
    tail = len(checksums) * 16
    index, own = content[-tail - 4 : -4], content[-4:]
    if len(content) < tail + 4 or checksum(index) != int.from_bytes(own, "little"):
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
