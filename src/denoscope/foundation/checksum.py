"""CRC-32C, the checksum that Zarr itself uses: of bytes, of a file, of JSON content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

BLOCK = 2**20


def checksum(data: np.ndarray | bytes, former: int = 0) -> int:
    """The CRC-32C of `data`, or of what `former` is the checksum of with `data` behind it."""
    return google_crc32c.extend(former, data)


def checksum_of_file(path: Path) -> int:
    """The CRC-32C of a whole file, read block by block."""
    total = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            total = checksum(block, total)
    return total


def checksum_of(content: Any) -> int:
    """The CRC-32C of JSON content, whatever the order of its keys or its white space."""
    return checksum(json.dumps(content, sort_keys=True).encode())
