"""Arrays by name in one .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the bytes that `numpy.savez` writes, but allow every name, also those of its arguments, such as `file`."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)
