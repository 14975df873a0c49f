"""Distances between all pairs of points, one block of rows at a time, so that memory stays bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from denoscope.foundation.validation import parse_integer

BLOCK_NUMBERS = 1 << 22
"""The number of distances in memory at a time: 32 MB."""
BINS = 4096
ROUNDINGS = 100.0
"""Distances of up to this many rounding errors may be rounding."""
SINGLE_ROUNDINGS, LARGE = 2.0, 1e-3
"""In dtypes of which a hundred rounding errors exceed this share of the states, such as float16 and bfloat16, distances may be
rounding up to this many errors of one rounding of each coordinate."""
ALONG_ORBIT, SHORT = 1e-12, 1000
"""The relative error that a computation in float64 accumulates along an orbit of a thousand points, such as that of the sine
of a growing phase; it grows with the number of points."""
USUAL = 0.98
"""The share of points that are not outliers."""


def check_theiler(theiler: int, points: int) -> None:
    """Refuse a Theiler window that is not an integer or leaves no pairs."""
    parse_integer(
        theiler,
        "theiler",
        maximum=points // 2 - 1,
        note=f"for {points} points; pairs that are at most this far apart in time are left out",
    )


def blocks(points: np.ndarray, theiler: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows, and the L2 distances of their points to all points; +∞ for pairs |i − j| ≤ theiler.

    Distances are computed from differences. The faster |a|² + |b|² − 2ab loses half of the digits for close points,
    which matter most here.
    """
    n = len(points)
    height = max(1, BLOCK_NUMBERS // n)
    for start in range(0, n, height):
        rows = slice(start, min(start + height, n))
        block = cdist(points[rows], points)
        gaps = np.abs(np.arange(n) - np.arange(rows.start, rows.stop)[:, None])
        block[gaps <= theiler] = np.inf
        yield rows, block


def resolution(points: np.ndarray, rounding: float) -> float:
    """The distance up to which points [n, d] may be equal, from the absolute rounding error of the largest coordinate.

    It is that of points of usual size, so that outliers do not matter. In short dtypes many errors would exceed the distances
    between states, so that one rounding of each coordinate counts there.
    """
    sizes = np.abs(points).max(axis=1)
    usual = float(np.quantile(sizes, USUAL))
    along_orbit = ALONG_ORBIT * max(len(points) / SHORT, 1.0)
    error = rounding / float(sizes.max())
    single = SINGLE_ROUNDINGS * math.sqrt(points.shape[1]) * error
    return max(min(ROUNDINGS * error, max(single, LARGE)), along_orbit) * usual


def distinct(points: np.ndarray, within: float) -> int:
    """The number of points, where those within a distance of each other count as one."""
    neighbours = np.concatenate([np.count_nonzero(block <= within, axis=1) for _, block in blocks(points, 0)])
    return round(float((1 / (1 + neighbours)).sum()))


def extent(points: np.ndarray, theiler: int) -> tuple[float, float]:
    """The smallest non-zero distance and the largest distance."""
    smallest, largest = np.inf, 0.0
    for _, block in blocks(points, theiler):
        block[np.isinf(block)] = 0
        largest = max(largest, float(block.max()))
        smallest = min(smallest, float(np.min(block, initial=np.inf, where=block > 0)))
    return smallest, largest


def distance_quantile(points: np.ndarray, share: float, theiler: int) -> float:
    """The smallest distance that is not exceeded by at least a given share of the pairs.

    It is exact: a histogram determines the bin that contains it, and a second pass sorts that bin.
    """
    _, largest = extent(points, theiler)
    counts = np.zeros(BINS, dtype=np.int64)
    for _, block in blocks(points, theiler):
        counts += np.bincount(_bins(block[np.isfinite(block)], largest), minlength=BINS)
    # Rounding of the product must not require one pair more than the share.
    rank = max(int(np.ceil(share * counts.sum() * (1 - 1e-12))), 1)
    target = int(np.searchsorted(np.cumsum(counts), rank))
    inside = []
    for _, block in blocks(points, theiler):
        finite = block[np.isfinite(block)]
        inside.append(finite[_bins(finite, largest) == target])
    return float(np.sort(np.concatenate(inside))[rank - counts[:target].sum() - 1])


def _bins(values: np.ndarray, largest: float) -> np.ndarray:
    return np.minimum((values * (BINS / largest)).astype(np.int64), BINS - 1)
