"""Reading a folder of .pt files as one dataset, as it is indexed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.foundation import tensor_files
from denoscope.storage import completion
from denoscope.storage.lazy_array import Key, lazy_array
from denoscope.storage.output_lock import readable_version
from denoscope.storage.plan import COMPLETE, NONFINITE, ArrayPlan
from denoscope.storage.pt.layout import attributes, content, file_of, marks_of

if TYPE_CHECKING:
    import xarray


def open_folder(folder: Path) -> xarray.Dataset:
    """The latest recording of an output folder as a lazily read dataset."""
    import xarray

    readable_version(folder, attributes(folder))
    found = content(folder)
    samples = found["samples"]
    variables: dict[str, Any] = {}
    for entry in found["arrays"]:
        array = _array_of(entry)
        paths = [folder / file_of(array.name, sample, found["layer_folders"]) for sample in samples]
        variables[array.name] = xarray.Variable(array.stored_dims, _lazily(folder, paths, array))
    coords = {name: (dim, np.array(values)) for name, (dim, values) in found["coords"].items()}
    dataset = xarray.Dataset(variables, coords=coords, attrs=found["attrs"])
    finished = completion.read(marks_of(folder)).values()
    flagged = {name: steps for mark in finished for name, steps in mark.nonfinite.items()}
    nonfinite = np.zeros((len(samples), dataset.sizes["state"]), bool)
    for row, name in enumerate(samples):
        nonfinite[row, flagged.get(name, [])] = True
    done = {name for mark in finished for name in mark.samples}
    complete = np.array([name in done for name in samples])
    return dataset.assign_coords(
        {COMPLETE: ("sample", complete), NONFINITE: (("sample", "state"), nonfinite)}
    )


def _array_of(entry: Mapping[str, Any]) -> ArrayPlan:
    return ArrayPlan(
        entry["name"],
        tuple(entry["inner"]),
        tuple(entry["inner_dims"]),
        np.dtype(entry["dtype"]),
        entry["time_dim"],
        entry["count"],
    )


def _lazily(folder: Path, paths: list[Path], array: ArrayPlan) -> Any:
    """An array over one file a sample that reads only what is indexed."""
    shape = (len(paths), *array.shape)

    def read(key: Key) -> np.ndarray:
        chosen, rest = key[0], key[1:]
        if not isinstance(chosen, (slice, np.ndarray)):
            return np.asarray(_part(_one(paths[chosen], array), rest))
        rows = [_part(_one(paths[row], array), rest) for row in np.arange(len(paths))[chosen]]
        return np.stack(rows) if rows else _part(np.empty((0, *shape[1:]), array.dtype), (slice(None), *rest))

    return lazy_array(folder, shape, array.dtype, read)


def _one(path: Path, array: ArrayPlan) -> np.ndarray:
    """One sample's values."""
    if not path.exists():  # a sample that the recording did not come to
        return np.full(array.shape, np.nan, array.dtype)
    return tensor_files.load(path, mmap=True).numpy()


def _part(values: np.ndarray, key: Key) -> np.ndarray:
    """What the key chooses."""
    lists = [(axis, item) for axis, item in enumerate(key) if isinstance(item, np.ndarray)]
    part = values[tuple(slice(None) if isinstance(item, np.ndarray) else item for item in key)]
    for axis, item in lists:
        # A number takes its axis away, so that those behind it move up.
        gone = sum(isinstance(other, (int, np.integer)) for other in key[:axis])
        part = part.take(item, axis - gone)
    return part
