"""One tensor file that torch.load reads, written entry by entry instead of all at once."""

from __future__ import annotations

import io
import os
import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from denoscope.foundation.checksum import checksum
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import open_sink

OVERHEAD = 2048
"""More than an archive takes beside its values, as measured."""
DATA = "/data/0"
"""The end of the name that PyTorch gives the tensor's values in the archive."""
CRC_IN_DESCRIPTOR, CRC_IN_DIRECTORY, DIRECTORY_ENTRY = 4, 16, 46
"""Offsets of the values' CRC-32, and the length of an entry of the archive's directory before its name."""


class PtFile:
    """A .pt file of shape [entries, …] whose entries are written one behind the other.

    PyTorch lays out the archive around the tensor's bytes (`torch.serialization.skip_data`). The CRC-32 of the values,
    which is known at the end, follows them, so that the file is a sound zip archive that is only appended to.
    `checksum` is the CRC-32C of the whole file once it is finished.
    """

    def __init__(self, store: ByteStore, key: str, shape: tuple[int, ...], dtype: np.dtype):
        self.key = key
        self.checksum, self._crc = 0, 0
        head, self._tail = _archive(shape, str(dtype))
        self._sink = open_sink(store, key)
        try:
            self._write(head)
        except BaseException:
            self.discard()
            raise

    def append(self, entry: np.ndarray) -> None:
        """Write the next entry, a contiguous array."""
        data = entry.data.cast("B")
        self._sink.append(data)
        self._crc, self.checksum = zlib.crc32(data, self._crc), checksum(entry, self.checksum)

    def finish(self) -> None:
        """Write what follows the values and make the file visible."""
        self._write(_with_crc(self._tail, self._crc))
        self._sink.finish()

    def discard(self) -> None:
        """Drop an unfinished file."""
        self._sink.discard()

    def _write(self, data: bytes) -> None:
        self._sink.append(data)
        self.checksum = checksum(data, self.checksum)


class _AroundData(io.BytesIO):
    """Keeps what is written before and after the one seek, with which PyTorch skips the values."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [bytearray()]
        self.position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts[-1] += data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset if whence == os.SEEK_SET else self.position + offset
        self.parts.append(bytearray())
        return self.position

    def tell(self) -> int:
        return self.position


@lru_cache(maxsize=64)
def _archive(shape: tuple[int, ...], dtype: str) -> tuple[bytes, bytes]:
    """What precedes and follows the values in the archive of a tensor."""
    around = _AroundData()
    with torch.serialization.skip_data():
        torch.save(torch.empty(shape, dtype=getattr(torch, dtype)), around)
    head, tail = around.parts
    return bytes(head), bytes(tail)


def _with_crc(tail: bytes, crc: int) -> bytes:
    """The tail with the values' CRC-32 in the descriptor at its start and in the archive's directory."""
    changed = bytearray(tail)
    places = [CRC_IN_DESCRIPTOR, _directory_entry(tail) + CRC_IN_DIRECTORY]
    for place in places:
        changed[place : place + 4] = struct.pack("<I", crc)
    return bytes(changed)


def _directory_entry(tail: bytes) -> int:
    """Where the values' entry of the archive's directory begins."""
    position = tail.index(b"PK\x01\x02")
    while True:
        name, extra, comment = struct.unpack("<HHH", tail[position + 28 : position + 34])
        start = position + DIRECTORY_ENTRY
        if tail[start : start + name].decode().endswith(DATA):
            return position
        position = start + name + extra + comment
