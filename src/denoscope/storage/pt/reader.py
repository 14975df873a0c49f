"""Reading of a folder of .pt files as one lazy dataset."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.attributes import variable_texts
from denoscope.storage.flags import flags
from denoscope.storage.lazy_array import Key, lazy_array
from denoscope.storage.output_lock import reading
from denoscope.storage.plan import COMPLETE, NONFINITE, ArrayPlan
from denoscope.storage.pt.layout import MARKS, Manifest, array_of, file_of
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore, exists
from denoscope.storage.stores.local import LocalStore

if TYPE_CHECKING:
    import xarray


def open_dataset(store: ByteStore, root: Root[Manifest], planned: Extent) -> xarray.Dataset:
    """Return a folder with this sound root file, of size `planned`, as a lazily read dataset.

    Raises: UserError if it cannot be read; MalformedError if an array of its manifest or a mark is damaged.
    """
    import xarray

    content = root.checked
    variables: dict[str, Any] = {}
    for array in map(array_of, content.arrays):
        keys = [file_of(array.name, sample, content.layer_folders) for sample in content.samples]
        variables[array.name] = xarray.Variable(array.stored_dims, _lazy_samples(store, keys, array))
    complete, nonfinite = flags(store, MARKS, content.samples, planned)
    with reading(store):
        coords = {
            name: (dim, variable_texts(np.array(values))) for name, (dim, values) in content.coords.items()
        }
        of_samples = {COMPLETE: ("sample", complete), NONFINITE: (("sample", "state"), nonfinite)}
        return xarray.Dataset(variables, coords={**coords, **of_samples}, attrs=root.attributes)


def _lazy_samples(store: ByteStore, keys: list[str], array: ArrayPlan) -> Any:
    """An array over one file a sample that reads only what is indexed."""
    shape = (len(keys), *array.shape)

    def read(key: Key) -> np.ndarray:
        chosen, rest = key[0], key[1:]
        if not isinstance(chosen, (slice, np.ndarray)):
            return np.asarray(_part(_sample_values(store, keys[chosen], array), rest))
        rows = [_part(_sample_values(store, keys[row], array), rest) for row in np.arange(len(keys))[chosen]]
        return np.stack(rows) if rows else _part(np.empty((0, *shape[1:]), array.dtype), (slice(None), *rest))

    return lazy_array(store, shape, array.dtype, read)


def _sample_values(store: ByteStore, key: str, array: ArrayPlan) -> np.ndarray:
    """One sample's values; missing ones for a sample that was not finished."""
    if not exists(store, key):
        return np.full(array.shape, array.missing, array.dtype)
    if isinstance(store, LocalStore):
        return tensor_files.load(store.path(key), mmap=True).numpy()
    return torch.load(io.BytesIO(store.get(key) or b""), weights_only=True).numpy()


def _part(values: np.ndarray, key: Key) -> np.ndarray:
    """The values at a key."""
    lists = [(axis, item) for axis, item in enumerate(key) if isinstance(item, np.ndarray)]
    part = values[tuple(slice(None) if isinstance(item, np.ndarray) else item for item in key)]
    for axis, item in lists:
        # A number removes its axis, which moves those behind it up.
        gone = sum(isinstance(other, (int, np.integer)) for other in key[:axis])
        part = part.take(item, axis - gone)
    return part
