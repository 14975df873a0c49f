"""One tensor file that torch.load reads, written entry by entry instead of all at once."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from denoscope.foundation.checksum import checksum

OVERHEAD = 2048  # more than an archive takes beside its values, as measured
DESCRIPTOR = b"PK\x07\x08"


class PtFile:
    """A .pt file of shape [entries, …] whose entries are written one behind the other.

    PyTorch lays out the archive with the tensor's bytes left open (`torch.serialization.skip_data`); they
    are filled in place, and at the end their CRC-32, so that the file is a sound zip archive as well.
    `checksum` is the CRC-32C of the whole file once it is finished.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.partial = path, path.with_name(f".{path.name}.partial")
        try:
            self._lay_out(shape, dtype)
        except BaseException:
            self.discard()
            raise
        self.end, self.crc = _start_of_data(self.partial), 0
        with open(self.partial, "rb") as file:
            self.checksum = checksum(file.read(self.end))

    def _lay_out(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        template = torch.empty(shape, dtype=getattr(torch, str(dtype)))
        with open(self.partial, "wb") as file, torch.serialization.skip_data():
            try:
                torch.save(template, file)
            except RuntimeError as error:
                # torch's archive writer covers the system's error, say a full disk, with one of its own.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def append(self, entry: np.ndarray) -> None:
        """Write the next entry, a contiguous array."""
        data = entry.data.cast("B")
        # Opened anew each time: hundreds of samples may be in flight, more than a process may hold open.
        with open(self.partial, "r+b", buffering=0) as file:
            file.seek(self.end)
            written = 0
            while written < len(data):
                written += file.write(data[written:])
        self.crc, self.checksum = zlib.crc32(data, self.crc), checksum(entry, self.checksum)
        self.end += len(data)

    def finish(self) -> None:
        """Fill in the checksum and give the file its name."""
        _fill_in_crc(self.partial, self.end, self.crc)
        with open(self.partial, "rb") as file:
            file.seek(self.end)
            self.checksum = checksum(file.read(), self.checksum)
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
