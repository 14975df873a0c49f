"""Reading a store as one dataset, as it is indexed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.foundation.errors import UserError
from denoscope.storage.lazy_array import lazy_array
from denoscope.storage.output_lock import readable_version
from denoscope.storage.plan import FORMAT
from denoscope.storage.remedy import reading
from denoscope.storage.zarr.layout import ROOT, attributes, is_laid_out, is_recording

if TYPE_CHECKING:
    import xarray


def open_store(path: Path) -> xarray.Dataset:
    """The store as a lazily read dataset; a layer's array keeps the dimension names of the store."""
    import xarray

    if not is_recording(path):
        raise UserError(f"{path} is no recording: it has no {ROOT} of the format {FORMAT!r}")
    readable_version(path, attributes(path))
    if not is_laid_out(path):
        raise UserError(
            f"{path} holds nothing yet: its run ended before the first step; replace it with --overwrite"
        )
    with reading(path):
        stored = xarray.open_zarr(path, chunks=None)
    variables = {
        name: array if name in stored.xindexes else _telling(path, array)
        for name, array in stored.variables.items()
    }
    data, coords = ({name: variables[name] for name in names} for names in (stored.data_vars, stored.coords))
    return xarray.Dataset(data, coords, stored.attrs)


def _telling(path: Path, stored: xarray.Variable) -> xarray.Variable:
    """A variable that tells of damage in one line when it is read; as xarray's own it is kept once it is read whole."""
    import xarray
    from xarray.core import indexing

    values = lazy_array(path, stored.shape, stored.dtype, lambda key: stored[key].to_numpy())
    kept: Any = indexing.MemoryCachedArray(values)
    return xarray.Variable(stored.dims, indexing.CopyOnWriteArray(kept), stored.attrs, stored.encoding)
