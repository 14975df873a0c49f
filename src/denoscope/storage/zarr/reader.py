"""Reading a store as one dataset, as it is indexed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.storage.array_names import decode
from denoscope.storage.lazy_array import lazy_array
from denoscope.storage.output_lock import check_version, reading
from denoscope.storage.plan import FORMAT
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr.layout import ROOT, attributes, is_laid_out, is_recording

if TYPE_CHECKING:
    import xarray


def open_dataset(store: ByteStore) -> xarray.Dataset:
    """Return a store as a lazily read dataset, in which layers have their addresses as names.

    A layer's dimensions have the names that they have in the store: `mid_block.channel`, since sizes differ.

    Raises: UserError if there is no recording in the store, or it cannot be read.
    """
    import xarray

    from denoscope.storage.zarr.byte_store_view import zarr_store

    if not is_recording(store):
        raise UserError(f"{store} is not a recording: it has no {ROOT} with the format {FORMAT!r}")
    check_version(store, attributes(store))
    if not is_laid_out(store):
        raise UserError(
            f"{store} is empty: its run ended before the first step; replace it ({spelled('overwrite', True)})"
        )
    with reading(store):
        stored = xarray.open_zarr(zarr_store(store), chunks=None)
        names = decode(map(str, stored.data_vars), stored.attrs["fingerprint"]["layers"])
    variables = {
        name: array.drop_encoding() if name in stored.xindexes else _guarded(store, array)
        for name, array in stored.variables.items()
    }
    data, coords = ({name: variables[name] for name in names} for names in (stored.data_vars, stored.coords))
    return xarray.Dataset({names[str(name)]: array for name, array in data.items()}, coords, stored.attrs)


def _guarded(store: ByteStore, stored: xarray.Variable) -> xarray.Variable:
    """A variable that reports damage in one line when it is read, and that xarray caches once it is read whole."""
    import xarray
    from xarray.core import indexing

    values = lazy_array(store, stored.shape, stored.dtype, lambda key: stored[key].to_numpy())
    cached: Any = indexing.MemoryCachedArray(values)
    # Without the encoding: chunks and shards of the whole array do not fit a part of it that is written elsewhere.
    return xarray.Variable(stored.dims, indexing.CopyOnWriteArray(cached), stored.attrs)
