"""The grid of a stored map, and the square lattice over it in which a page moves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from denoscope.explorer.tile_address import CELLS

FINEST = 4
"""Places of the lattice along the smaller side of a cell at the deepest level."""
LEAST_LEVEL, MOST_LEVEL = 2, 30
"""The deepest levels of the smallest and of the largest map."""


@dataclass(frozen=True)
class MapGrid:
    """Cells of `spacing` around `middle`, both along u and v (L2). A page moves in the smallest square around them."""

    counts: tuple[int, int]
    """Numbers of cells along u and v."""
    spacing: tuple[float, float]
    middle: tuple[float, float]

    @classmethod
    def of(cls, u: np.ndarray, v: np.ndarray) -> MapGrid:
        """The grid of evenly spaced coordinates of cells; along an axis of one cell the spacing is that of the other one."""
        spacing = [float(axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else 0.0 for axis in (u, v)]
        along_u, along_v = (space or max(spacing) or 1.0 for space in spacing)
        middle = (float(u[0] + u[-1]) / 2, float(v[0] + v[-1]) / 2)
        return cls((len(u), len(v)), (along_u, along_v), middle)

    @property
    def side(self) -> float:
        """The side of the square: the longer side of the map, with the halves of the cells at its ends."""
        return max(count * space for count, space in zip(self.counts, self.spacing, strict=True))

    @property
    def deepest(self) -> int:
        """The first level at which the smaller side of a cell has four places of the lattice."""
        level = math.ceil(math.log2(FINEST * self.side / (CELLS * min(self.spacing))))
        return min(max(level, LEAST_LEVEL), MOST_LEVEL)

    def index(self, axis: int, places: Iterable[int], level: int) -> np.ndarray:
        """The numbers of the cells that hold the middles of places of a level along an axis; −1 outside of the map."""
        count = CELLS * 2**level
        shares = [Fraction(2 * place + 1, 2 * count) - Fraction(1, 2) for place in places]
        distances = np.array([float(share) for share in shares]) * (self.side / self.spacing[axis])
        found = np.floor(distances + self.counts[axis] / 2).astype(np.int64)
        return np.where((found >= 0) & (found < self.counts[axis]), found, -1)

    def lattice(self, column: int, row: int) -> tuple[int, int]:
        """The place of the deepest level that holds the middle of a cell."""
        i, j = (
            math.floor(((number + 0.5 - count / 2) * space / self.side + 0.5) * CELLS * 2**self.deepest)
            for number, count, space in zip((column, row), self.counts, self.spacing, strict=True)
        )
        return i, j
