"""The correlation dimension of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_confidence, parse_numbers, parse_points
from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.pairwise import blocks, check_theiler, extent
from denoscope.dynamics.statistics.standard_errors import jackknife_error
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

LEAST_POINTS = 200
RADII = 400
PARTS = 20
LEAST_PAIRS = 200
"""Below the radius that holds so many pairs, ln C scatters by more than a tenth."""
SHARE = 0.02
"""Above the radius that holds this share of all pairs, C feels the edges of the set; few points need ten times the
pairs of the lower end to make a range at all."""
NEAR = 0.8
"""Share of the bound from which a value is near it."""
LEAST_RADII = 6
WIDEST = 0.1
"""The ρ of the bound at most: radii above a tenth of the diameter are no small scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrelationDimension(Estimate):
    """D₂, the correlation sum [radius] it is the slope of, and how much these points can show.

    `fit_range` are the smallest and largest radius of the fit, `halves` the slopes over its lower and upper half, and
    `bound` the largest D₂ that so many points can show over this range (Eckmann and Ruelle).
    """

    radii: np.ndarray
    sums: np.ndarray
    fit_range: tuple[float, float]
    halves: tuple[float, float]
    bound: float


def correlation_dimension(
    points: Any, *, theiler: int = 0, radii: tuple[float, float] | None = None, confidence: float = 0.95
) -> CorrelationDimension:
    """D₂ of points [n, …] (or [n]) in order of time, by Grassberger and Procaccia.

    C(r) is the share of pairs |i − j| > theiler that are closer than r (L2); D₂ is the slope of ln C against ln r over
    the fitted range, by least squares. A pure number: 0 a cycle of a map, 1 a curve, 2 a surface; not an
    integer for a fractal set. Computed in float64, with memory bounded by blocks; time grows with n².

    The range, unless given, runs from the radius within which a point has one neighbour on average (and which holds 200
    pairs) to the one that holds 2 % of all pairs, or ten times the pairs of the lower end if that is more. Sharp edges
    of a set lower the slope there: by 2 % of a square, 8 % of a cube of six dimensions or of the logistic map at r = 4, whose
    density is infinite at its ends. The interval is that of the slope over this range and knows nothing of it.
    It joins the scatter from point to point (jackknife over 20 stretches of time, doubled as every pair
    counts at both ends) with half the difference of the slopes over the two halves of the range: where C is no
    straight line there is no dimension to speak of, and the interval is wide.

    It misleads for neighbours in time, which make any smooth curve look one-dimensional: set `theiler` to a few
    correlation times. Noise of size s reads as the full dimension below r = s. Values near the bound
    D₂ ≤ 2 log₁₀ n / log₁₀(1/ρ), ρ the upper radius over the diameter and 0.1 at most, say only that there are too few points: 50–70
    steps of a trajectory are refused.

    Args:
        theiler: pairs no further apart in time than this are left out; 0 leaves out each point with itself.
        radii: the smallest and largest radius of the fit.
    Raises: UserError if there are fewer than 200 points, all are the same, or the range holds no straight line.
    Source: Grassberger and Procaccia, Physica D 9, 189 (1983); Theiler, Phys. Rev. A 34, 2427 (1986); Eckmann and
        Ruelle, Physica D 56, 185 (1992).
    """
    array = parse_points(points, name="points", minimum=1)
    _refuse_few(len(array))
    check_theiler(theiler, len(array))
    parse_confidence(confidence)
    _check_radii(radii)
    smallest, diameter = extent(array, theiler)
    grid = np.geomspace(smallest, diameter, RADII)
    counts, pairs = _counts(array, grid, theiler)
    _refuse_repeats(array, counts, pairs)
    sums = counts.sum(axis=0) / pairs
    fitted = _fitted(grid, sums, radii, points=len(array), pairs=pairs / 2)
    value, halves = _slope(grid, sums, fitted), _halves(grid, sums, fitted)
    scatter = 2 * student_quantile(confidence, PARTS - 1) * _part_error(grid, counts, fitted)
    reach = float(np.hypot(scatter, (halves[0] - halves[1]) / 2))
    low, high = float(grid[fitted][0]), float(grid[fitted][-1])
    bound = float(2 * np.log10(len(array)) / -np.log10(min(high / diameter, WIDEST)))
    return CorrelationDimension(
        value=value,
        interval=(value - reach, value + reach),
        confidence=confidence,
        radii=grid,
        sums=sums,
        fit_range=(low, high),
        halves=halves,
        bound=bound,
        origin={"points": len(array), "numbers": array.shape[1], "theiler": theiler, "diameter": diameter},
        warnings=(
            *_limits(value, halves, bound, len(array)),
            *_neighbours(array, theiler, high, float(sums[fitted][-1])),
        ),
    )


def _refuse_few(points: int) -> None:
    if points < LEAST_POINTS:
        bound = 2 * np.log10(max(points, 1))
        raise UserError(
            f"points has {points} points; at least {LEAST_POINTS} are needed: over a single decade of radii no more than"
            f" D₂ = 2 log₁₀ {points} = {bound:.1f} could show (Eckmann and Ruelle)"
        )


def _check_radii(radii: Any) -> None:
    """Refuse radii that are no range."""
    if radii is None:
        return
    ends = parse_numbers(radii, "radii")
    if ends.shape != (2,) or not 0 < ends[0] < ends[1]:
        raise UserError(f"radii is {describe(radii)}; allowed: (low, high) with 0 < low < high")


def _refuse_repeats(points: np.ndarray, counts: np.ndarray, pairs: int) -> None:
    """Refuse a finite set of states visited again and again, at which C does not vanish with r."""
    distinct = len(np.unique(points, axis=0))
    if counts[:, 0].sum() / pairs > SHARE / 2 and distinct < len(points):
        raise UserError(
            f"only {distinct} of {len(points)} points are different: an orbit that repeats is a finite set, of"
            " dimension 0; use periodicity"
        )


def _counts(points: np.ndarray, grid: np.ndarray, theiler: int) -> tuple[np.ndarray, int]:
    """How many ordered pairs lie within each radius [part, radius], by the stretch of time of their first point."""
    part_of = np.arange(len(points)) * PARTS // len(points)
    width = np.log(grid[-1] / grid[0]) / (len(grid) - 1) or 1.0
    histogram = np.zeros(PARTS * len(grid), dtype=np.int64)
    for rows, block in blocks(points, theiler):
        apart = np.isfinite(block)
        with np.errstate(divide="ignore"):
            # Within rounding of a radius counts as within it.
            place = np.ceil((np.log(block[apart]) - np.log(grid[0])) / width - 1e-9)
        place = np.clip(place, 0, len(grid) - 1).astype(np.int64)
        place += np.broadcast_to(part_of[rows, None], block.shape)[apart] * len(grid)
        histogram += np.bincount(place, minlength=len(histogram))
    return np.cumsum(histogram.reshape(PARTS, -1), axis=1), int(histogram.sum())


def _fitted(
    grid: np.ndarray, sums: np.ndarray, radii: tuple[float, float] | None, *, points: int, pairs: float
) -> np.ndarray:
    """Which radii the slope is fitted over."""
    if radii is None:
        # Less than a neighbour a point is below what an orbit that fills its set regularly resolves.
        lower = max(LEAST_PAIRS / pairs, 1 / points)
        fitted = (sums >= lower) & (sums <= min(max(SHARE, 10 * lower), 0.5))
    else:
        fitted = (grid >= radii[0]) & (grid <= radii[1]) & (sums > 0)
    if np.count_nonzero(fitted) < LEAST_RADII:
        given = "that hold enough pairs" if radii is None else f"between {radii[0]:g} and {radii[1]:g}"
        raise UserError(
            f"too few radii {given} for a slope; distances run from {grid[0]:.3g} to {grid[-1]:.3g}:"
            " give radii=(low, high) well within, or more points"
        )
    return fitted


def _slope(grid: np.ndarray, sums: np.ndarray, fitted: np.ndarray) -> float:
    return float(np.polyfit(np.log(grid[fitted]), np.log(sums[fitted]), 1)[0])


def _halves(grid: np.ndarray, sums: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
    """The slopes over the lower and the upper half of the fitted radii."""
    lower, upper = np.array_split(np.flatnonzero(fitted), 2)
    return _slope(grid, sums, lower), _slope(grid, sums, upper)


def _part_error(grid: np.ndarray, counts: np.ndarray, fitted: np.ndarray) -> float:
    """Standard error of the slope from leaving out one stretch of first points at a time."""
    left = [_slope(grid, counts.sum(axis=0) - part, fitted) for part in counts]
    return float(jackknife_error(np.array(left)))


def _limits(value: float, halves: tuple[float, float], bound: float, points: int) -> list[str]:
    warnings = []
    if NEAR * bound < value <= bound:
        warnings.append(
            f"D₂ = {value:.2f} is near {bound:.2f}, the most that {points} points can show over this range (Eckmann and "
            "Ruelle): it may be too small"
        )
    if value > bound:
        warnings.append(
            f"D₂ = {value:.2f} is above {bound:.2f}, the most that {points} points can show over this range (Eckmann"
            " and Ruelle): there are too few points"
        )
    if abs(halves[0] - halves[1]) > 0.05 + 0.1 * abs(value):
        warnings.append(
            f"no straight line: the slope is {halves[0]:.2f} over the lower half of the range and {halves[1]:.2f} over"
            " the upper; look at the sums and give radii"
        )
    return warnings


def _neighbours(points: np.ndarray, theiler: int, radius: float, share: float) -> list[str]:
    """A warning if points are near each other because they follow each other."""
    lag = theiler + 1
    near = float((np.linalg.norm(points[lag:] - points[:-lag], axis=1) <= radius).mean())
    if near <= 5 * share + 0.05:
        return []
    return [
        f"{near:.0%} of the points {lag} apart in time are closer than the upper radius, of all pairs {share:.0%}:"
        f" neighbours in time count as structure; raise theiler above {theiler}"
    ]
