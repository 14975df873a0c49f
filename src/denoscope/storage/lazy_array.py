"""An array of a recording that is read as it is indexed and reports damage in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from denoscope.storage.output_lock import reading
from denoscope.storage.stores.byte_store import ByteStore

Key = tuple[Any, ...]
"""A number, a slice or an array of numbers for each axis; arrays index their axes independently."""


def lazy_array(
    store: ByteStore, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[Key], np.ndarray]
) -> Any:
    """Return an array that xarray takes as the values of a variable; `read` returns the values at a key."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Stored(BackendArray):
        def __init__(self) -> None:
            self.shape, self.dtype = shape, dtype

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            return indexing.explicit_indexing_adapter(key, shape, indexing.IndexingSupport.OUTER, self._read)

        def _read(self, key: Key) -> np.ndarray:
            with reading(store):
                return read(key)

    return indexing.LazilyIndexedArray(Stored())
