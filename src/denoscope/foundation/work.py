"""Work: a dataset that a long measure fills piece by piece and saves while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoscope.foundation.progress import Progress
from denoscope.foundation.writing.result_files import write

if TYPE_CHECKING:
    import xarray

WRITING_SHARE = 0.02
"""The largest share of the time that is spent on writing."""


class Work:
    """A dataset that a measure fills piece by piece, and the file that holds its finished part."""

    def __init__(self, data: xarray.Dataset, path: Path | None, progress: Progress | None):
        self.data = data
        self.begun = False
        """Whether a piece was finished in this process."""
        self._path, self._progress = path, progress
        self._due_at = time.perf_counter()

    def run(self, pieces: Iterable[int], total: int | None) -> None:
        """Exhaust a loop that fills `data` and yields the number of finished pieces; save and report after each.

        Args:
            total: the number of all pieces; None if only the end of the loop shows it.
        """
        finished = 0
        for finished in pieces:
            self.save()
            self.report(finished, total)
        if total is None and finished:
            self.report(finished, finished)

    def report(self, finished: int, total: int | None) -> None:
        """Report progress to the caller of the measure."""
        if self._progress is not None:
            self._progress(finished, total)

    @property
    def due(self) -> bool:
        """Whether the next write stays within `WRITING_SHARE` of the time since the last one."""
        return self._path is not None and time.perf_counter() >= self._due_at

    def save(self) -> None:
        """Note that a further piece is finished, and write the file if that is due."""
        self.begun = True
        if self.due:
            start = time.perf_counter()
            self.write()
            end = time.perf_counter()
            self._due_at = end + (end - start) / WRITING_SHARE

    def write(self) -> None:
        """Write the file now."""
        if self._path is not None:
            write(self.data, self._path)


def with_room(stored: xarray.Dataset, fresh: xarray.Dataset, name: str, *, along: str) -> xarray.Dataset:
    """The stored dataset, with one variable extended along a dimension to the length that it has in the fresh one."""
    more = fresh[name].isel({along: slice(stored.sizes[along], None)})
    if not more.sizes[along]:
        return stored
    axis = more.dims.index(along)
    return stored.assign({name: (more.dims, np.concatenate([stored[name], more], axis))})
