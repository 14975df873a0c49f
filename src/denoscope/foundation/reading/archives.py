"""Check of zip archives (.npz and .pt): their declared sizes must be plausible before anything is unpacked."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError

RATIO, ALLOWANCE = 16, 2**26
"""An archive may unpack to 16 times its size plus 64 MiB. NumPy and PyTorch do not compress what they save."""


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
    if declared > (allowed := RATIO * size + ALLOWANCE):
        raise UserError(
            f"cannot read {name}: its {format_bytes(size)} unpack to {format_bytes(declared)}; allowed: "
            f"{format_bytes(allowed)}, since files of tensors are stored without compression"
        )
