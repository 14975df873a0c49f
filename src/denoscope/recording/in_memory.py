"""Recordings in memory: the arrays of a plan, filled in place of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.storage.attributes import variable_texts
from denoscope.storage.completion import Mark
from denoscope.storage.plan import COMPLETE, NONFINITE, Plan, as_array

if TYPE_CHECKING:
    import xarray


def check_memory(stored: int, in_flight: int = 0) -> None:
    """Refuse a recording of `stored` bytes that does not fit into memory beside `in_flight` bytes for the samples in flight.

    Raises: UserError with both numbers.
    """
    needed, free = stored + in_flight, memory.free_bytes(torch.device("cpu"))
    if needed > free:
        raise UserError(
            f"the recording takes {format_bytes(stored)} of memory, with the samples in flight at least "
            f"{format_bytes(needed)}, and {format_bytes(free)} are free; store it on disk ({spelled('out', 'run.zarr')}), "
            f"or record fewer samples, layers or steps ({spelled('every')})"
        )


class MemoryWriter:
    """A writer that fills NumPy arrays; a sample that is not finished is NaN."""

    def __init__(self, plan: Plan):
        self._plan = plan
        count = len(plan.samples)
        self._arrays = {
            array.name: np.full((count, *array.shape), array.missing, array.dtype) for array in plan.arrays
        }
        self._complete = np.zeros(count, bool)
        self._nonfinite = np.zeros((count, plan.steps + 1), bool)
        self.finished: Mapping[int, Mark] = {}

    @contextmanager
    def unit(self, groups: Sequence[int]) -> Iterator[_Unit]:
        samples = [index for group in groups for index in self._plan.samples_of(group)]
        rows = slice(samples[0], samples[-1] + 1)
        yield _Unit(self._plan, rows, self._arrays, self._nonfinite)
        self._complete[rows] = True

    def dataset(self) -> xarray.Dataset:
        """The recording as a dataset, like those of stored recordings."""
        import xarray

        variables = {
            array.name: xarray.Variable(array.stored_dims, self._arrays[array.name])
            for array in self._plan.arrays
        }
        flags = {COMPLETE: ("sample", self._complete), NONFINITE: (("sample", "state"), self._nonfinite)}
        coords = {name: (dim, variable_texts(values)) for name, (dim, values) in self._plan.coords.items()}
        return xarray.Dataset(variables, coords={**coords, **flags}, attrs=dict(self._plan.attrs))


class _Unit:
    """Consecutive samples, as they are written."""

    def __init__(self, plan: Plan, rows: slice, arrays: Mapping[str, np.ndarray], nonfinite: np.ndarray):
        self._rows, self._arrays, self._nonfinite = rows, arrays, nonfinite
        self._timed = {array.name: array.time_dim is not None for array in plan.arrays}
        self._entries = dict.fromkeys(arrays, 0)
        self._states = 0

    def append(self, name: str, rows: torch.Tensor) -> None:
        array, entry = self._arrays[name], self._entries[name]
        self._entries[name] += 1
        place = (self._rows, entry) if self._timed[name] else (self._rows,)
        array[place] = as_array(rows, array.dtype)

    def flag(self, nonfinite: np.ndarray) -> None:
        self._nonfinite[self._rows, self._states] = nonfinite
        self._states += 1
