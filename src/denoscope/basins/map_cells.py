"""The cells of a map: computed on request, and filled in between."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray

from denoscope.basins.labelling import Answers, Labelling
from denoscope.basins.map_warnings import map_warnings
from denoscope.basins.point_cache import KnownCells, PointCache
from denoscope.basins.refinement import MEANINGS, Refinement, Request
from denoscope.basins.shared_calls import Task, shared_calls
from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.label_plane import nearest_known
from denoscope.models.classifier.labels import REJECTED
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid

LOST = np.iinfo(np.int64).min
"""The label, while a map is refined, of cells that are not finite, so that their boundary with rejected ones is found."""
NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))
"""The rows and columns of no cells."""
LARGEST_MARGIN = 1 - 2.0**-24
"""The largest margin below 1 that float32 represents."""


@dataclass(frozen=True, eq=False)
class MapCells:
    """The cells of a map in `data`, which is filled in place, and the labelling that computes them."""

    labelling: Labelling
    plane: NoiseSet
    grid: PlaneGrid
    data: xarray.Dataset
    batch_size: int
    """The number of cells that are denoised together; see `Labelling.rows_together`."""
    cache: PointCache | None = None
    callback: Callable[[xarray.Dataset], None] | None = None
    """Called with the map so far, as `basins.map` says."""
    shared: bool = False
    """Whether other maps share the calls of the network, so that they use the rows that this one leaves."""

    def compute(self, rows: np.ndarray, columns: np.ndarray, spare: Request = NOTHING) -> Task:
        """The task to enter cells: those that the cache knows, then the others, `batch_size` at a time.

        Args:
            spare: cells that will be needed later, with which the last call is filled up.
        """
        known = self._known.index[rows, columns]
        found = _where(~self.data["computed"].values[rows, columns] & (known >= 0), rows, columns)
        self._enter(
            found, {name: values[self._known.index[found]] for name, values in self._known.answers.items()}
        )
        rows, columns = self._filled_up(self._missing(rows, columns), spare)
        first = 0
        while first < len(rows):
            last = first + self.labelling.rows_together(self.batch_size)  # workers come and go
            place = rows[first:last], columns[first:last]
            first = last
            answers = yield self.plane.batch(self.grid.noise_at(*place).tolist())
            self._enter(place, answers)
            self._count_rows(len(place[0]))
            if self.cache is not None:
                self.cache.add(self.grid.plane.u[place[1]], self.grid.plane.v[place[0]], answers)

    def preview(self) -> xarray.Dataset:
        """A copy of the map so far, in which every cell has the values of the nearest computed one."""
        computed, copy = self.data["computed"].values, self.data.copy(deep=True)
        if computed.any():
            nearest = nearest_known(computed)
            for name in set(copy.data_vars) - {"computed", "status"}:
                copy[name].values[...] = copy[name].values[nearest]
        return copy

    def fill(self, audit: int) -> Iterator[int]:
        """Compute every cell or, in a map with `status`, those around boundaries; then enter the warnings.

        Yields the number of computed cells after each batch.

        Args:
            audit: see `_refine`.
        """
        for _ in self.run_alone(self.fill_task(audit)):
            if "status" not in self.data:
                self._show()
            yield int(self.data["computed"].sum())
        if self.callback is not None:
            self.callback(self.data.copy(deep=True))

    def run_alone(self, task: Task) -> Iterator[None]:
        """Run a task of these cells alone: each of its questions is a batch, whose padding counts as rows; pauses after each."""

        def answer(x_T: torch.Tensor) -> Answers:
            self._count_rows(self.labelling.loop.rows_of_whole_calls(len(x_T)) - len(x_T))
            return self.labelling(x_T)

        for _, _, error in shared_calls([task], answer, sys.maxsize):
            if error:
                raise error
            yield

    def fill_task(self, audit: int) -> Task:
        """The task of `fill`, for calls that others share."""
        adaptive = "status" in self.data
        if adaptive:
            lanes = 1 if self.shared else self.labelling.loop.lanes
            yield from self._refine(
                Refinement.of(self.grid, self.data.attrs.get("block"), lanes=lanes), audit
            )
        else:
            yield from self.compute(self.grid.rows, self.grid.columns)
        found = audit_of(self.data)
        self.data.attrs["warnings"] = map_warnings(
            self.data["nonfinite"].values, found, self.grid.plane, requested=audit
        )
        if adaptive:
            self.data["status"].attrs |= MEANINGS

    def _missing(self, rows: np.ndarray, columns: np.ndarray) -> Request:
        """The cells that are neither computed nor in the cache."""
        missing = ~self.data["computed"].values[rows, columns] & (self._known.index[rows, columns] < 0)
        return _where(missing, rows, columns)

    def _filled_up(self, cells: Request, spare: Request) -> Request:
        """Cells, and as many of the spare ones that are missing as fit into their last call."""
        count = len(cells[0])
        free = self.labelling.loop.rows_of_whole_calls(count) - count
        own, other = (np.ravel_multi_index(place, self.grid.shape) for place in (cells, spare))
        further = self._missing(*_where(~np.isin(other, own), *spare))
        rows, columns = (
            np.concatenate([axis, more[:free]]) for axis, more in zip(cells, further, strict=True)
        )
        return rows, columns

    def _count_rows(self, rows: int) -> None:
        # A file of an earlier version does not say how many rows it took so far.
        if "network_rows" in self.data.attrs:
            self.data.attrs["network_rows"] += rows

    def _refine(self, refinement: Refinement, audit: int) -> Task:
        """Compute cells around boundaries, fill the others, and check `audit` of them; see `Refinement.requests`.

        The result of the check becomes the attribute `audit`, and its bounds are attributes too.
        """
        for number, place in enumerate(refinement.requests(audit)):
            if number:
                self._show()
            yield from self.compute(*place, spare=refinement.to_check(audit))
            lost = self.data["nonfinite"].values[place]
            refinement.label[place] = np.where(lost, LOST, self.data["label"].values[place])
            refinement.gap[place] = self._gap(place)
        lost = refinement.label == LOST
        self.data["label"].values[...] = np.where(lost, REJECTED, refinement.label)
        self.data["nonfinite"].values[...] = lost
        self.data["status"].values[...] = refinement.status
        for result in (self.data, self.data["label"]):
            result.attrs["audit"] = dataclasses.asdict(refinement.audit)
        self.data.attrs |= refinement.audit.bounds

    @functools.cached_property
    def _known(self) -> KnownCells:
        """The cells that the cache holds."""
        if self.cache is None:
            return KnownCells(np.full(self.grid.shape, -1), {})
        return self.cache.on_grid(self.grid.plane.u, self.grid.plane.v)

    def _show(self) -> None:
        if self.callback is not None:
            self.callback(self.preview())

    def _enter(self, place: Request, answers: Mapping[str, np.ndarray]) -> None:
        for name, values in answers.items():
            self.data[name].values[place] = values
        self.data["computed"].values[place] = True

    def _gap(self, place: Request) -> np.ndarray:
        """How far the classifier is from another label at computed cells, NaN if it does not say; see `distance_from_boundary`."""
        if "margin" not in self.data:
            return np.full(len(place[0]), np.nan)
        names = [name for name in ("label", "margin", "likeness") if name in self.data]
        return distance_from_boundary(**{name: self.data[name].values[place] for name in names})


def _where(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Request:
    return rows[mask], columns[mask]


def distance_from_boundary(
    label: np.ndarray, margin: np.ndarray, likeness: np.ndarray | None = None
) -> np.ndarray:
    """How far images [n] are from another label, in logits, which do not saturate as the softmax does.

    Half the difference of the logits of the best two classes is artanh of the margin, if the two share the softmax.
    Where the classifier rejects, an image is also |ln likeness| from being rejected, or accepted.
    """
    apart = np.arctanh(np.minimum(margin.astype(np.float64), LARGEST_MARGIN))
    if likeness is None:
        return apart
    with np.errstate(divide="ignore"):
        to_rejection = np.abs(np.log(likeness.astype(np.float64)))
    return np.where(label == REJECTED, to_rejection, np.minimum(apart, to_rejection))
