"""The slope of a correlation sum over a range of radii, and how uncertain it is."""

from __future__ import annotations

import numpy as np

from denoscope.dynamics.statistics.standard_errors import jackknife_error


def slope_of(grid: np.ndarray, sums: np.ndarray, fitted: np.ndarray) -> float:
    return float(np.polyfit(np.log(grid[fitted]), np.log(sums[fitted]), 1)[0])


def slopes_of_halves(grid: np.ndarray, sums: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
    """The slopes over the lower and the upper half of the fitted radii."""
    lower, upper = np.array_split(np.flatnonzero(fitted), 2)
    return slope_of(grid, sums, lower), slope_of(grid, sums, upper)


def curvature(grid: np.ndarray, fitted: np.ndarray, halves: tuple[float, float]) -> float:
    """How far the slope may be from its limit at small radii, if the slopes of the halves continue linearly in r.

    The halves meet at the geometric mean of the range, so that their middles are a factor of √(high/low) apart. At least
    half of the difference of the slopes.
    """
    low, high = grid[fitted][[0, -1]]
    return abs(halves[0] - halves[1]) * max(0.5, 1 / (np.sqrt(high / low) - 1))


def shift_without_ends(grid: np.ndarray, sums: np.ndarray, fitted: np.ndarray) -> float:
    """How much the slope changes at most if the lowest, the highest or both quarters of the radii are left out.

    The slope of a set that repeats itself at a fixed factor of scale oscillates, and so depends on where the range ends.
    """
    radii = np.flatnonzero(fitted)
    quarter, whole = len(radii) // 4, slope_of(grid, sums, fitted)
    parts = (radii[quarter:], radii[: len(radii) - quarter], radii[quarter : len(radii) - quarter])
    return max(abs(slope_of(grid, sums, part) - whole) for part in parts)


def scatter_between_parts(grid: np.ndarray, counts: np.ndarray, fitted: np.ndarray) -> float:
    """The standard error of the slope, by leaving out one stretch of first points at a time."""
    slopes = [slope_of(grid, counts.sum(axis=0) - part, fitted) for part in counts]
    return float(jackknife_error(np.array(slopes)))
