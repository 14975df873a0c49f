"""CRC-32C, the checksum that Zarr uses: of bytes and of JSON content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import google_crc32c

if TYPE_CHECKING:
    import numpy as np


def checksum(data: np.ndarray | bytes, previous: int = 0) -> int:
    """The CRC-32C of `data`, or of the data with checksum `previous` followed by `data`."""
    return google_crc32c.extend(previous, data)


def checksum_of_json(content: Any) -> int:
    """The CRC-32C of JSON content; it does not depend on the order of keys or on white space."""
    return checksum(json.dumps(content, sort_keys=True).encode())
