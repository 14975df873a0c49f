"""Reading of a store as one lazy dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from denoscope.storage.array_names import decode
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.flags import flags
from denoscope.storage.lazy_array import lazy_array
from denoscope.storage.output_lock import reading
from denoscope.storage.plan import COMPLETE, NONFINITE
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import each
from denoscope.storage.zarr.layout import MARKS, ZarrRoot

if TYPE_CHECKING:
    import xarray

FLAGS = {COMPLETE, NONFINITE}


def open_dataset(store: ByteStore, _root: Root[ZarrRoot], planned: Extent) -> xarray.Dataset:
    """Return a store of size `planned` as a lazily read dataset, in which layers have their addresses as names.

    A layer's dimensions have the names that they have in the store: `mid_block.channel`, since sizes differ.

    Raises: UserError if it cannot be read; MalformedError if a mark is damaged.
    """
    import xarray

    from denoscope.storage.zarr.byte_store_view import zarr_store

    with reading(store):
        stored = xarray.open_zarr(zarr_store(store), chunks=None, zarr_format=3)
        names = decode(map(str, stored.data_vars), stored.attrs["fingerprint"]["layers"])
        # Loaded now, while they are known to match their checksums.
        names_of_coords = [str(name) for name in stored.coords if name not in FLAGS]
        loaded = each(store, lambda name: stored.coords[name].variable.load(), names_of_coords)
        coords = dict(zip(names_of_coords, loaded, strict=True))
        samples = list(map(str, stored["sample"].to_numpy()))
    data = {names[str(name)]: _guarded(store, array.variable) for name, array in stored.data_vars.items()}
    complete, nonfinite = flags(store, MARKS, samples, planned)
    of_samples = {COMPLETE: ("sample", complete), NONFINITE: (("sample", "state"), nonfinite)}
    return xarray.Dataset(data, {**coords, **of_samples}, stored.attrs)


def _guarded(store: ByteStore, stored: xarray.Variable) -> xarray.Variable:
    """A variable that reports damage in one line when it is read, and that xarray caches once it is read whole."""
    import xarray
    from xarray.core import indexing

    values = lazy_array(store, stored.shape, stored.dtype, lambda key: stored[key].to_numpy())
    cached: Any = indexing.MemoryCachedArray(values)
    # Without the rest of the encoding: a part that is written elsewhere does not fit the chunks of the whole array.
    shards = stored.encoding.get("shards") or stored.encoding["chunks"]
    preferred = {"preferred_chunks": dict(zip(stored.dims, shards, strict=True))}
    return xarray.Variable(stored.dims, indexing.CopyOnWriteArray(cached), stored.attrs, preferred)
