"""Lines through the box counts of planes of labels, with the intervals of their slopes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denoscope.dynamics.boundaries.label_plane import mixed_windows
from denoscope.dynamics.statistics.arguments import random_generator
from denoscope.dynamics.statistics.intervals import percentile_interval
from denoscope.dynamics.statistics.line_fit import weighted_line

BLOCKS = 6
"""Number of blocks along each axis of the plane that the bootstrap resamples."""
DRAWS = 400
"""Number of bootstrap samples."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BoxFit:
    """A line through ln counts over ln(1/sides), weighted by the counts.

    `sides` [size] are in spacings between cells. `counts` [size] are mean numbers of mixed boxes over all tilings.
    `local_slopes` [size − 1] are the slopes between neighbouring sizes, `local_intervals` [size − 1, 2] their
    intervals. `residuals` [size] are those of ln counts.
    """

    sides: np.ndarray
    counts: np.ndarray
    slope: float
    intercept: float
    interval: tuple[float, float]
    residuals: np.ndarray
    local_slopes: np.ndarray
    local_intervals: np.ndarray

    def __repr__(self) -> str:
        (low, high), sides = self.interval, self.sides
        return f"<BoxFit slope={self.slope:.3f} [{low:.3f}, {high:.3f}], sides {sides[0]:g} to {sides[-1]:g}>"


def pooled_fit(
    planes: Sequence[Sequence[np.ndarray]],
    shape: tuple[int, ...],
    sides: Sequence[int],
    *,
    seed: int,
    confidence: float,
) -> tuple[BoxFit, tuple[float, float] | None]:
    """The fit to the box counts of several planes of one shape, added up, and the interval of its slope.

    Args:
        planes: for each plane whether each window of each side is mixed, as `mixed_windows` says.
    """
    inner, everywhere = (
        _box_fit(_densities(planes, shape, sides, trims), _spacings(sides), seed, confidence)
        for trims in (_trims(sides), [0] * len(sides))
    )
    if math.isnan(inner.slope):
        return inner, None
    return inner, hull(*inner.interval, *everywhere.interval, *inner.local_slopes)


def plane_fit(labels: np.ndarray, sides: Sequence[int], *, seed: int, confidence: float) -> BoxFit:
    """The fit to the box counts of one plane, away from its edge."""
    return _box_fit(_inner_densities(labels, sides), _spacings(sides), seed, confidence)


def box_slopes(labels: np.ndarray, sides: Sequence[int]) -> tuple[float, np.ndarray]:
    """The `slope` and the `local_slopes` of `plane_fit`, without the intervals."""
    counts, x = _inner_densities(labels, sides).sum(axis=0), -np.log(_spacings(sides))
    return float(weighted_line(x, _logs(counts), counts)[0]), _local_slopes(counts, x)


def _inner_densities(labels: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    return _densities([[mixed_windows(labels, side) for side in sides]], labels.shape, sides, _trims(sides))


def _densities(
    planes: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...], sides: Sequence[int], trims: Sequence[int]
) -> np.ndarray:
    """The mean numbers of mixed boxes [plane·block, size] with their centre in each block; `trims` as in `_block_sums`."""
    counts = [
        np.stack(
            [_block_sums(*window_and_trim, shape) for window_and_trim in zip(mixed, trims, strict=True)],
            axis=-1,
        )
        for mixed in planes
    ]
    return np.concatenate(counts) / _spacings(sides) ** 2


def _spacings(sides: Sequence[int]) -> np.ndarray:
    return np.array(sides, dtype=float) - 1


def _trims(sides: Sequence[int]) -> list[int]:
    """How many windows of each side are left out at the edge, so that the widest box fits around the others."""
    return [sides[-1] - side for side in sides]


def _block_sums(mixed: np.ndarray, trim: int, shape: tuple[int, ...]) -> np.ndarray:
    """The number of mixed windows [BLOCKS²] with their centre in each block of the plane.

    The outermost `trim` windows along each axis are left out.
    """
    first = trim // 2
    inner = mixed[first : mixed.shape[0] - (trim - first), first : mixed.shape[1] - (trim - first)]
    for axis in range(2):
        centre = first + np.arange(inner.shape[axis]) + (shape[axis] - mixed.shape[axis]) / 2
        starts = np.searchsorted(centre, np.arange(BLOCKS) * shape[axis] / BLOCKS)
        sums = np.concatenate([np.zeros_like(inner.take([0], axis), dtype=int), inner.cumsum(axis)], axis)
        inner = np.diff(sums.take([*starts, inner.shape[axis]], axis), axis=axis)
    return inner.ravel()


def _box_fit(blocks: np.ndarray, sides: np.ndarray, seed: int, confidence: float) -> BoxFit:
    """The fit to the sum of the counts [block, size] over blocks, with intervals from bootstrap samples of the blocks."""
    counts, x = blocks.sum(axis=0), -np.log(sides)
    slope, intercept = weighted_line(x, _logs(counts), counts)
    drawn = (
        random_generator(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), DRAWS) @ blocks
    )
    # A sample of empty blocks has no slope.
    drawn = drawn[(drawn > 0).all(axis=1)]
    without_one = np.where(np.eye(len(sides), dtype=bool), 0.0, counts)
    slopes_without_one = weighted_line(x, _logs(counts), without_one)[0]
    drawn_slopes = percentile_interval(weighted_line(x, _logs(drawn), drawn)[0], confidence=confidence)
    return BoxFit(
        sides=sides,
        counts=counts,
        slope=float(slope),
        intercept=float(intercept),
        interval=hull(*drawn_slopes, *slopes_without_one),
        residuals=_logs(counts) - slope * x - intercept,
        local_slopes=_local_slopes(counts, x),
        local_intervals=np.array(
            [percentile_interval(column, confidence=confidence) for column in _local_slopes(drawn, x).T]
        ),
    )


def _local_slopes(counts: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Slopes between neighbouring sizes, NaN if one of the two has no counts."""
    counted = (counts[..., 1:] > 0) & (counts[..., :-1] > 0)
    return np.where(counted, np.diff(_logs(counts), axis=-1) / np.diff(x), np.nan)


def _logs(counts: np.ndarray) -> np.ndarray:
    """Logarithms of counts, 0 for a count of 0, which has no weight."""
    return np.log(np.where(counts > 0, counts, 1))


def hull(*values: float) -> tuple[float, float]:
    """The smallest and the largest of the values, NaN ignored; NaN if there are no others."""
    known = [float(value) for value in values if not math.isnan(value)]
    return (min(known), max(known)) if known else (math.nan, math.nan)
