"""Refinement of a map: cells are computed along boundaries, and the areas between them are filled."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from scipy.stats import qmc

from denoscope.basins.blocks import (
    LEFT,
    TOP,
    block_of,
    corners,
    halves,
    have_interior,
    inner_cells,
    sizes,
    tiling,
)
from denoscope.dynamics.boundaries.audit import WITHOUT_FILLED_CELLS, Audit
from denoscope.dynamics.boundaries.label_plane import beside_boundary
from denoscope.models.classifier.labels import REJECTED
from denoscope.noise.plane_grid import PlaneGrid

STATUSES = ("unknown", "computed", "backed", "probed")
UNKNOWN, COMPUTED, BACKED, PROBED = range(len(STATUSES))
"""How the label of a cell is known: computed, or filled. A filled cell is backed if the margin of the nearest computed
cell exceeds the change that the growth between computed cells allows on the way to it, otherwise probed."""
MEANINGS = {"flag_values": list(range(len(STATUSES))), "flag_meanings": " ".join(STATUSES)}
"""Of the variable `status`, as the CF conventions name them."""
REACH = 0.1
"""A block is halved if its smallest margin is below this part of the change that the growth allows within it."""
PREDICTED = 4
"""The side of a block, in cells, in which the place of a boundary is predicted from the corners."""
LOOK_AHEAD = 4
"""How many times as many random cells are looked at as are checked, since some of them are computed already."""
Request = tuple[np.ndarray, np.ndarray]
"""Rows and columns of cells."""


@dataclass(eq=False)
class Refinement:
    """The cells of a grid [ny, nx] that a map computes, and the labels with which it fills the others.

    Blocks of cells are halved while the labels at their corners differ, or the margin could vanish between them. In
    small blocks the boundary is predicted from the corners, and cells beside a predicted boundary are computed until
    every two neighbours with different labels are. A block whose corners agree is filled if a cell inside of it, at a
    random place, agrees too, and opened again if a boundary is found to enter it.

    Args:
        label: [ny, nx], written by the caller for each cell that `requests` yields.
        gap: [ny, nx] how far the classifier is from another label, in any unit that grows smoothly with the distance
            from the boundary; NaN where it is unknown.
        spacing: the distances of neighbouring cells along y and x (L2).
        side: of the first blocks, in cells.
        seed: of the inner cells, and of those that are checked.
        lanes: the rows of one call of the network; requests of fewer cells ask for more, which cost nothing.
    """

    label: np.ndarray
    gap: np.ndarray
    spacing: tuple[float, float]
    side: int
    seed: int = 0
    lanes: int = 1
    status: np.ndarray = field(init=False)
    audit: Audit = field(init=False, default=WITHOUT_FILLED_CELLS)
    """How many filled cells were wrong, once all requests are answered."""

    @classmethod
    def of(cls, grid: PlaneGrid, side: int | None = None, *, lanes: int = 1) -> Refinement:
        """The refinement of a plane, before any cell is known; `side` is that of the first blocks."""
        along_u, along_v = grid.plane.spacing
        return cls(
            label=np.full(grid.shape, REJECTED),
            gap=np.full(grid.shape, np.nan),
            spacing=(along_v, along_u),
            side=side or block_of(grid.shape),
            lanes=lanes,
        )

    def __post_init__(self) -> None:
        self.status = np.zeros(self.label.shape, np.int8)
        self._growth = np.zeros(self.label.shape)
        self._owner = np.full(self.label.shape, -1, np.int64)
        self._filled = np.zeros((0, 4), np.int64)
        self._places = qmc.Halton(2, rng=np.random.default_rng(self.seed))
        self._order = np.random.default_rng([self.seed, self.label.size]).permutation(self.label.size)

    def requests(self, audit: int) -> Iterator[Request]:
        """Rows and columns of cells to compute, in groups whose cells do not depend on each other.

        A group holds all cells that are known to be needed, since each group may end with a call of the network that is not full.
        The caller writes their labels to `label` before the next request. After the last one every cell has a label.

        Args:
            audit: how many of the filled cells are computed at the end, to see how many are wrong; they keep the label that
                was computed, and no other cell changes.
        """
        blocks = tiling(self.label.shape, self.side)
        yield from self._ask(*corners(blocks))
        while len(blocks):
            yield from self._settle(blocks)
            blocks = yield from self._follow()
        self._back()
        yield from self._check(audit)

    def to_check(self, count: int) -> Request:
        """The cells that `requests(count)` checks in the end, unless it asks for them before.

        They are the first filled ones in an order that does not depend on any label. The caller may compute them early, in
        calls that are not full, and the check finds the same share wrong.
        """
        for end in (LOOK_AHEAD * count, len(self._order)):
            order = self._order[:end]
            filled = order[self.status.flat[order] != COMPUTED]
            if len(filled) >= count:
                break
        return np.divmod(filled[:count], self.label.shape[1])

    def _settle(self, blocks: np.ndarray) -> Iterator[Request]:
        """Halve blocks until all are filled."""
        while len(blocks):
            large, differ = (sizes(blocks) > PREDICTED).any(axis=1), self._differ(blocks)
            close = have_interior(blocks) & (self._smallest_gap(blocks) < REACH * self._change(blocks))
            self._predict(blocks[differ & ~large])
            agreeing = blocks[~differ & ~close]
            opened = blocks[np.where(differ, large, close)]
            cells, inside = inner_cells(agreeing, self._places)
            yield from self._ask(*_joined(cells, corners(halves(opened))))
            odd = np.zeros(len(agreeing), bool)
            odd[inside] = self.label[cells] != self.label[agreeing[inside, TOP], agreeing[inside, LEFT]]
            self._fill(agreeing[~odd])
            blocks = halves(np.concatenate([opened, agreeing[odd]]))
            yield from self._ask(*corners(blocks))

    def _follow(self) -> Generator[Request, None, np.ndarray]:
        """Compute cells next to a different label; return the halves of filled blocks that a boundary enters."""
        while (beside := self._unchecked()).any():
            owners = np.unique(self._owner[beside])
            owners = owners[owners >= 0]
            large = owners[(sizes(self._filled[owners]) > PREDICTED).any(axis=1)]
            if len(large):
                blocks, others = halves(self._filled[large]), beside & ~np.isin(self._owner, large)
                yield from self._ask(*_joined(corners(blocks), _cells(others)))
                return blocks
            yield from self._ask(*_cells(self._widened(beside)))
        return np.zeros((0, 4), np.int64)

    def _check(self, count: int) -> Iterator[Request]:
        """Compute random filled cells, and note how many had another label."""
        filled = int(np.count_nonzero(self.status != COMPUTED))
        rows, columns = self.to_check(count)
        expected = self.label[rows, columns]
        yield from self._ask(rows, columns)
        wrong = int(np.count_nonzero(self.label[rows, columns] != expected))
        self.audit = Audit(filled=filled, checked=len(rows), wrong=wrong)

    def _ask(self, rows: np.ndarray, columns: np.ndarray) -> Iterator[Request]:
        """The cells that are not computed yet, each once."""
        width = self.label.shape[1]
        cells = np.unique(rows.ravel() * width + columns.ravel())
        rows, columns = np.divmod(cells[self.status.flat[cells] != COMPUTED], width)
        if len(rows):
            yield rows, columns
            self.status[rows, columns] = COMPUTED
            self._owner[rows, columns] = -1

    def _widened(self, cells: np.ndarray) -> np.ndarray:
        """Cells [ny, nx], and the nearest ones that are not computed if all fit into one call: the boundary may enter them."""
        spare = self.lanes - np.count_nonzero(cells)
        if spare <= 0:
            return cells
        others = np.flatnonzero((self.status != COMPUTED) & ~cells)
        distance = ndimage.distance_transform_edt(~cells).flat[others]
        wider = cells.copy()
        wider.flat[others[np.argsort(distance, kind="stable")[:spare]]] = True
        return wider

    def _unchecked(self) -> np.ndarray:
        """Whether each cell is not computed, and one of its four neighbours has another label."""
        return beside_boundary(self.label) & (self.status != COMPUTED)

    def _differ(self, blocks: np.ndarray) -> np.ndarray:
        at = self.label[corners(blocks)]
        return (at != at[:, :1]).any(axis=1)

    def _smallest_gap(self, blocks: np.ndarray) -> np.ndarray:
        return self.gap[corners(blocks)].min(axis=1)

    def _change(self, blocks: np.ndarray) -> np.ndarray:
        """The change of the margin that the growth allows from a corner of each block to its middle; 0 without margins."""
        rows, columns = corners(blocks)
        label, gap = self.label[rows, columns], self.gap[rows, columns]
        lengths = sizes(blocks) * np.asarray(self.spacing)
        growth = np.zeros(len(blocks))
        for one, other, axis in ((0, 1, 1), (2, 3, 1), (0, 2, 0), (1, 3, 0)):
            same = label[:, one] == label[:, other]
            change = np.where(same, np.abs(gap[:, one] - gap[:, other]), gap[:, one] + gap[:, other])
            length = lengths[:, axis]
            growth = np.fmax(growth, np.divide(change, length, out=np.zeros(len(blocks)), where=length > 0))
        around = np.zeros(self.label.shape)
        np.maximum.at(around, (rows, columns), growth[:, None])
        np.maximum(self._growth, around, out=self._growth)
        return around[rows, columns].max(axis=1) * np.hypot(*lengths.T) / 2

    def _fill(self, blocks: np.ndarray) -> None:
        """Give all cells of each block that are not computed the label of its corners."""
        first, self._filled = len(self._filled), np.concatenate([self._filled, blocks])
        for number, (top, left, bottom, right) in enumerate(blocks.tolist(), first):
            area = slice(top, bottom + 1), slice(left, right + 1)
            self._set(area, self.label[top, left], owner=number)

    def _predict(self, blocks: np.ndarray) -> None:
        """Give cells that are not computed the label with the largest margin, interpolated from the corners of their block."""
        rows, columns = corners(blocks)
        labels, gaps = self.label[rows, columns], np.nan_to_num(self.gap[rows, columns], nan=1.0)
        for block, label, gap in zip(blocks.tolist(), labels, gaps, strict=True):
            top, left, bottom, right = block
            down, across = np.linspace(0, 1, bottom - top + 1), np.linspace(0, 1, right - left + 1)
            weights = np.stack([np.outer(y, x) for y in (1 - down, down) for x in (1 - across, across)])
            present = np.unique(label)
            signs = np.where(label == present[:, None], gap, -gap)
            leading = present[np.tensordot(signs, weights, 1).argmax(axis=0)]
            self._set((slice(top, bottom + 1), slice(left, right + 1)), leading, owner=-1)

    def _set(self, area: tuple[slice, slice], label: np.ndarray, owner: int) -> None:
        empty = self.status[area] != COMPUTED
        self.label[area][empty] = np.broadcast_to(label, empty.shape)[empty]
        self.status[area][empty] = PROBED
        self._owner[area][empty] = owner

    def _back(self) -> None:
        """Mark the filled cells whose nearest computed cell has a margin that cannot vanish on the way."""
        distance, (rows, columns) = ndimage.distance_transform_edt(
            self.status != COMPUTED, sampling=np.maximum(self.spacing, 1e-300), return_indices=True
        )
        gap, growth = self.gap[rows, columns], self._growth[rows, columns]
        backed = (self.label[rows, columns] == self.label) & (gap > growth * distance)
        self.status[backed & (self.status == PROBED)] = BACKED


def _cells(marked: np.ndarray) -> Request:
    """The cells that are marked [ny, nx]."""
    rows, columns = np.nonzero(marked)
    return rows, columns


def _joined(one: Request, other: Request) -> Request:
    """The cells of both requests."""
    rows, columns = (
        np.concatenate([np.ravel(part) for part in axis]) for axis in zip(one, other, strict=True)
    )
    return rows, columns
