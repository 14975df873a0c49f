"""Distances between all pairs of points, a block of rows at a time: memory does not grow with their number squared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from denoscope.foundation.validation import parse_integer

BLOCK_NUMBERS = 1 << 22
"""Distances held at a time: 32 MB."""
BINS = 4096


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """L2 distances [a, b] of points [a, d] and [b, d], from differences and not from products.

    |a|² + |b|² − 2ab is faster and loses half of the digits where points are close, which is what counts here.
    """
    return torch.cdist(
        torch.from_numpy(np.ascontiguousarray(first)),
        torch.from_numpy(np.ascontiguousarray(second)),
        compute_mode="donot_use_mm_for_euclid_dist",
    ).numpy()


def check_theiler(theiler: int, points: int) -> None:
    """Refuse a Theiler window that is none or leaves no pairs."""
    most = points // 2 - 1
    parse_integer(
        theiler,
        "theiler",
        maximum=most,
        note=f"for {points} points: pairs closer in time than that are left out",
    )


def blocks(points: np.ndarray, theiler: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows, and the distances of their points to all points; +∞ between points |i − j| ≤ theiler apart in time."""
    n = len(points)
    height = max(1, BLOCK_NUMBERS // n)
    for start in range(0, n, height):
        rows = slice(start, min(start + height, n))
        block = distances(points[rows], points)
        gaps = np.abs(np.arange(n) - np.arange(rows.start, rows.stop)[:, None])
        block[gaps <= theiler] = np.inf
        yield rows, block


def extent(points: np.ndarray, theiler: int) -> tuple[float, float]:
    """The smallest distance that is not zero, and the largest."""
    smallest, largest = np.inf, 0.0
    for _, block in blocks(points, theiler):
        block[np.isinf(block)] = 0
        largest = max(largest, float(block.max()))
        smallest = min(smallest, float(np.min(block, initial=np.inf, where=block > 0)))
    return smallest, largest


def distance_quantile(points: np.ndarray, share: float, theiler: int) -> float:
    """The smallest distance that at least the given share of the pairs does not exceed.

    Exact: a histogram says which bin it lies in, and a second pass sorts that bin.
    """
    _, largest = extent(points, theiler)
    counts = np.zeros(BINS, dtype=np.int64)
    for _, block in blocks(points, theiler):
        counts += np.bincount(_bins(block[np.isfinite(block)], largest), minlength=BINS)
    # Rounding of the product must not ask for one pair more than the share.
    rank = max(int(np.ceil(share * counts.sum() * (1 - 1e-12))), 1)
    found = int(np.searchsorted(np.cumsum(counts), rank))
    inside = []
    for _, block in blocks(points, theiler):
        finite = block[np.isfinite(block)]
        inside.append(finite[_bins(finite, largest) == found])
    return float(np.sort(np.concatenate(inside))[rank - counts[:found].sum() - 1])


def _bins(values: np.ndarray, largest: float) -> np.ndarray:
    return np.minimum((values * (BINS / largest)).astype(np.int64), BINS - 1)
