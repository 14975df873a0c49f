"""Reading a folder of .pt files as one dataset, as it is indexed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope import tensors
from denoscope.storage import marks
from denoscope.storage.plan import COMPLETE, NONFINITE, ArrayPlan
from denoscope.storage.pt_layout import attributes, content, file_of, marks_of
from denoscope.storage.target import readable_version

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
        variables[array.name] = xarray.Variable(array.stored_dims, _lazily(paths, array))
    coords = {name: (dim, np.array(values)) for name, (dim, values) in found["coords"].items()}
    dataset = xarray.Dataset(variables, coords=coords, attrs=found["attrs"])
    finished = marks.read(marks_of(folder)).values()
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


def _lazily(paths: list[Path], array: ArrayPlan) -> Any:
    """An array over one file a sample that reads only what is indexed."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class SampleFiles(BackendArray):
        shape = (len(paths), *array.shape)
        dtype = array.dtype

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )

        def _read(self, key: tuple[Any, ...]) -> np.ndarray:
            chosen, rest = key[0], key[1:]
            if not isinstance(chosen, (slice, np.ndarray)):
                return np.asarray(_part(self._one(paths[chosen]), rest))
            rows = [_part(self._one(paths[row]), rest) for row in np.arange(len(paths))[chosen]]
            return (
                np.stack(rows)
                if rows
                else _part(np.empty((0, *self.shape[1:]), self.dtype), (slice(None), *rest))
            )

        def _one(self, path: Path) -> np.ndarray:
            if not path.exists():  # a sample that the recording did not come to
                return np.full(array.shape, np.nan, array.dtype)
            return tensors.load(path, mmap=True).numpy()

    return indexing.LazilyIndexedArray(SampleFiles())


def _part(values: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """What the key (a number, a slice or an array for each axis) chooses, each axis for itself."""
    lists = [(axis, item) for axis, item in enumerate(key) if isinstance(item, np.ndarray)]
    part = values[tuple(slice(None) if isinstance(item, np.ndarray) else item for item in key)]
    for axis, item in lists:
        # A number takes its axis away, so that those behind it move up.
        gone = sum(isinstance(other, (int, np.integer)) for other in key[:axis])
        part = part.take(item, axis - gone)
    return part
