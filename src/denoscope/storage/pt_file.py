"""One tensor file that torch.load reads, written entry by entry instead of all at once."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

DESCRIPTOR = b"PK\x07\x08"


class PtFile:
    """A .pt file of shape [entries, …] whose entries are written one behind the other.

    PyTorch lays out the archive with the tensor's bytes left open (`torch.serialization.skip_data`); they
    are filled in place, and at the end their CRC-32, so that the file is a sound zip archive as well.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        try:
            self._lay_out(shape, dtype)
        except BaseException:
            self.discard()
            raise
        self.start, self.crc = _start_of_data(self.partial), 0
        self.end = self.start

    def _lay_out(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        template = torch.empty(shape, dtype=getattr(torch, str(dtype)))
        with open(self.partial, "wb") as file, torch.serialization.skip_data():
            torch.save(template, file)

    def append(self, entry: np.ndarray) -> None:
        """Write the next entry, a contiguous array."""
        data = entry.data.cast("B")
        # Opened anew each time: hundreds of samples may be in flight, more than a process may hold open.
        with open(self.partial, "r+b", buffering=0) as file:
            file.seek(self.end)
            written = 0
            while written < len(data):
                written += file.write(data[written:])
        self.crc = zlib.crc32(data, self.crc)
        self.end += len(data)

    def finish(self) -> None:
        """Fill in the checksum and give the file its name."""
        _fill_in_crc(self.partial, self.end, self.crc)
        os.replace(self.partial, self.path)

    def discard(self) -> None:
        """Forget an unfinished file."""
        self.partial.unlink(missing_ok=True)


def _entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    return next(info for info in archive.infolist() if info.filename.endswith("/data/0"))


def _start_of_data(path: Path) -> int:
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        offset = _entry(archive).header_offset
        file.seek(offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        return offset + 30 + name + extra


def _fill_in_crc(path: Path, end_of_data: int, crc: int) -> None:
    """Set the checksum in the descriptor behind the data and in the archive's directory."""
    with zipfile.ZipFile(path) as archive:
        entry, directory = _entry(archive), archive.start_dir
    with open(path, "r+b", buffering=0) as file:
        file.seek(end_of_data)
        if file.read(4) == DESCRIPTOR:
            file.seek(end_of_data + 4)
            file.write(struct.pack("<I", crc))
        file.seek(directory)
        while (header := file.read(46))[:4] == b"PK\x01\x02":
            name, extra, comment = struct.unpack("<HHH", header[28:34])
            position = file.tell()
            if file.read(name).decode() == entry.filename:
                file.seek(position - 46 + 16)
                file.write(struct.pack("<I", crc))
                return
            file.seek(position + name + extra + comment)
