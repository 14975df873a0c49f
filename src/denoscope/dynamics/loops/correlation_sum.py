"""The correlation sum: how many pairs of points are closer than a radius."""

from __future__ import annotations

import numpy as np

from denoscope.dynamics.statistics.pairwise import blocks, distinct, extent, resolution
from denoscope.foundation.errors import UserError

RADII = 400
PARTS = 20
"""Stretches of time by which pairs are counted."""
INNER = 0.98
"""The share of pairs that are not outliers."""


def check_distinct(
    points: np.ndarray,
    grid: np.ndarray,
    sums: np.ndarray,
    *,
    rounding: float,
    allowed: float,
    repeated: float,
) -> None:
    """Refuse a finite set of states that are visited repeatedly, up to rounding, for which C does not vanish with r.

    Args:
        rounding: the absolute rounding error of the largest number.
        allowed: the share of pairs that may be equal in any case.
        repeated: the share from which a single repetition is refused; below it half of the points must repeat.
    """
    n, resolved = len(points), resolution(points, rounding)
    equal = float(sums[max(int(np.searchsorted(grid, resolved, "right")) - 1, 0)])
    if equal <= allowed:
        return
    count = distinct(points, resolved)
    if count > n / 2 and (equal <= repeated or count == n):
        return
    raise UserError(
        f"only {count} of {n} points are distinct up to rounding: an orbit that repeats is a finite set, which has no "
        "correlation dimension but 0; use periodicity; if values were rounded to few digits, give radii well above "
        "the rounding"
    )


def correlation_counts(points: np.ndarray, theiler: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Radii, ordered pairs within each radius [stretch of time of the first point, radius], and the number of all pairs.

    The radii run from the smallest distance to the largest, or to twice that which 98 % of the pairs do not exceed, so
    that a few outliers do not determine the size of the set.
    """
    smallest, largest = extent(points, theiler)
    grid = np.geomspace(smallest, largest, RADII)
    counts, pairs = _counts(points, grid, theiler)
    inner = 2 * float(grid[np.searchsorted(counts.sum(axis=0), INNER * pairs)])
    if inner < largest:
        grid = np.geomspace(smallest, inner, RADII)
        counts, pairs = _counts(points, grid, theiler)
    return grid, counts, pairs


def _counts(points: np.ndarray, grid: np.ndarray, theiler: int) -> tuple[np.ndarray, int]:
    """Ordered pairs within each radius [stretch of time of the first point, radius], and the number of all pairs."""
    part_of = np.arange(len(points)) * PARTS // len(points)
    width = np.log(grid[-1] / grid[0]) / (len(grid) - 1) or 1.0
    histogram = np.zeros(PARTS * len(grid), dtype=np.int64)
    for rows, block in blocks(points, theiler):
        apart = np.isfinite(block)
        with np.errstate(divide="ignore"):
            # A distance within rounding of a radius counts as within it.
            place = np.ceil((np.log(block[apart]) - np.log(grid[0])) / width - 1e-9)
        place = np.clip(place, 0, len(grid) - 1).astype(np.int64)
        place += np.broadcast_to(part_of[rows, None], block.shape)[apart] * len(grid)
        histogram += np.bincount(place, minlength=len(histogram))
    return np.cumsum(histogram.reshape(PARTS, -1), axis=1), int(histogram.sum())
