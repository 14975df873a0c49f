"""Zip archives (.npz and .pt) of which the declared sizes are checked before anything is unpacked."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError

RATIO, SMALL = 16, 2**26
"""What an archive may unpack to: 16 times its own size, and 64 MiB. NumPy and PyTorch do not compress what they save."""


def check_unpacked(file: BinaryIO, name: str | os.PathLike[str]) -> None:
    """Refuse a zip archive that unpacks to far more than it holds; other files are left to their readers.

    Raises: UserError naming the file, what it would unpack to and what is allowed.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        declared = sum(member.file_size for member in zipfile.ZipFile(file).infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return
    finally:
        file.seek(0)
    if declared > (allowed := RATIO * size + SMALL):
        raise UserError(
            f"cannot read {name}: its {format_bytes(size)} unpack to {format_bytes(declared)}; allowed: "
            f"{format_bytes(allowed)}, since files of tensors are stored without compression"
        )
