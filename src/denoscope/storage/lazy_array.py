"""An array of a recording that is read as it is indexed, and tells of damage in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from denoscope.storage.remedy import reading

Key = tuple[Any, ...]
"""A number, a slice or an array for each axis, which choose each for itself."""


def lazy_array(
    recording: Path, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[Key], np.ndarray]
) -> Any:
    """What xarray takes as the values of a variable: `read` gives those that a key chooses."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Stored(BackendArray):
        def __init__(self) -> None:
            self.shape, self.dtype = shape, dtype

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            return indexing.explicit_indexing_adapter(key, shape, indexing.IndexingSupport.OUTER, self._read)

        def _read(self, key: Key) -> np.ndarray:
            with reading(recording):
                return read(key)

    return indexing.LazilyIndexedArray(Stored())
