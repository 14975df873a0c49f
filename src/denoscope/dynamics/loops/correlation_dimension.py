"""The correlation dimension of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.loops.correlation_slope import (
    curvature,
    scatter_between_parts,
    shift_without_ends,
    slope_of,
    slopes_of_halves,
)
from denoscope.dynamics.loops.correlation_sum import PARTS, check_distinct, correlation_counts
from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import (
    parse_confidence,
    parse_numbers,
    parse_rounded_points,
)
from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.pairwise import check_theiler
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe

LEAST_POINTS = 200
LEAST_PAIRS = 200
"""Below the radius that contains this many pairs, ln C scatters by more than a tenth."""
SHARE = 0.02
"""Above the radius that contains this share of all pairs, C is affected by the edges of the set. With few points the range
extends to ten times the pairs at its lower end."""
NEAR = 0.8
"""The share of the bound from which there is a warning."""
LEAST_RADII = 6
SATURATED = 0.95
"""If the interval of a scalar series reaches this value, having only one coordinate may limit the dimension."""
SHIFTED = 0.05
"""There is a warning if the slope changes by more than this part of itself when the ends of the range are left out."""
WIDE = 0.15
"""There is a warning if half the width of the interval exceeds this part of the value, which 1,000 random points do not."""
LEAST_SPAN = 2.4
"""If the radii span less than this factor, as in four dimensions and more, the slope at small radii may differ."""
WIDEST = 0.1
"""The largest ρ in the bound: radii above a tenth of the diameter are not a small scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrelationDimension(Estimate):
    """The correlation dimension D₂ and the correlation sum from which it is fitted.

    Attributes:
        radii: [radius].
        sums: [radius] the correlation sum C.
        fit_range: the smallest and the largest radius of the fit.
        halves: the slopes over the lower and the upper half of the fitted range.
        bound: the largest D₂ that so many points can show over this range (Eckmann and Ruelle).
    """

    pictured: ClassVar[str] = "sums"
    rows: ClassVar[Mapping[str, str]] = {"radii": "radii", "sums": "radii"}
    radii: np.ndarray
    sums: np.ndarray
    fit_range: tuple[float, float]
    halves: tuple[float, float]
    bound: float


@calls_checked
def correlation_dimension(
    points: Any, *, theiler: int = 0, radii: tuple[float, float] | None = None, confidence: float = 0.95
) -> CorrelationDimension:
    """The correlation dimension D₂ of points [n, …] (or [n]) in order of time, by Grassberger and Procaccia's algorithm.

    C(r) is the share of pairs |i − j| > theiler that are closer than r in L2. D₂ is the slope of ln C over ln r in the
    fitted range, by least squares: a pure number. Computation is in float64; memory is bounded, time grows as n².

    By default the range starts at the smallest radius within which a point has one neighbour on average and at least
    200 pairs lie. It ends at the radius within which 2 % of all pairs lie, or ten times the pairs of the lower end if
    that is more. The interval is that of the slope over this range. It combines the scatter from point to point
    (jackknife over 20 stretches of time, doubled because every pair counts at both ends) with the misfit. The misfit
    is the largest of three numbers: the change of the slope without a quarter of the radii at either end, half the
    difference of the slopes over the two halves, and that difference extrapolated to small radii. If ln C is not a
    straight line, there is no dimension, and the interval is wide. The measured coverage is in `docs/intervals.md`.

    Interpretation: 0 is a cycle of a map, 1 a curve, 2 a surface; a fractal set has a dimension that is not an integer.

    Caveats: neighbours in time make any smooth curve look one-dimensional; set `theiler` to a few correlation times.
    Noise of size s appears as the full dimension below r = s. Sharp edges of a set lower the slope: at 4,000 points
    by 1 % for a square, by 11 % for a cube of six dimensions, by 9 % for the logistic map at r = 4, whose density is
    infinite at its ends. Values near the bound D₂ ≤ 2 log₁₀ n / log₁₀(1/ρ), with ρ the upper radius over the diameter,
    at most 0.1, only show that there are too few points; the 50–70 steps of a trajectory are refused. The diameter
    ignores a few outliers: it is at most twice the distance within which 98 % of the pairs lie. An orbit that repeats
    up to the rounding of its dtype is refused: it is a finite set. A scalar series shows at most D₂ = 1; a warning says
    when to embed it.

    Args:
        theiler: pairs at most this many points apart in time are left out; 0 leaves out only the pairs of a point with
            itself.
        radii: the smallest and the largest radius of the fit.

    Raises: UserError if there are fewer than 200 points, the points are equal or repeat, or the range contains no straight line.
    Source: Grassberger and Procaccia, Physica D 9, 189 (1983); Theiler, Phys. Rev. A 34, 2427 (1986); Eckmann and
        Ruelle, Physica D 56, 185 (1992).
    """
    array, rounding = parse_rounded_points(points, name="points", minimum=1)
    _check_points(len(array))
    check_theiler(theiler, len(array))
    parse_confidence(confidence)
    _check_radii(radii)
    grid, counts, pairs = correlation_counts(array, theiler)
    sums, diameter = counts.sum(axis=0) / pairs, float(grid[-1])
    # The default range starts at a share of about 1/n; the caller's may start above the distance of equal states.
    allowed = 1 / len(array) if radii is None else SHARE / 2
    check_distinct(array, grid, sums, rounding=rounding, allowed=allowed, repeated=SHARE / 2)
    fitted = _fit_mask(grid, sums, radii, points=len(array), pairs=pairs / 2)
    value, halves = slope_of(grid, sums, fitted), slopes_of_halves(grid, sums, fitted)
    scatter = 2 * student_quantile(confidence, PARTS - 1) * scatter_between_parts(grid, counts, fitted)
    shift = shift_without_ends(grid, sums, fitted)
    reach = float(np.hypot(scatter, max(shift, curvature(grid, fitted, halves))))
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
            *_bound_warnings(value, bound, len(array)),
            *_fit_warnings(value, halves, shift > max(scatter, SHIFTED * abs(value))),
            *_width_warnings(value, reach),
            *_scalar_warnings(array.shape[1], value + reach),
            *_span_warnings(low, high),
            *_neighbour_warnings(array, theiler, high, float(sums[fitted][-1])),
        ),
    )


def _check_points(points: int) -> None:
    if points < LEAST_POINTS:
        bound = 2 * np.log10(max(points, 1))
        raise UserError(
            f"points has {points} points; allowed: at least {LEAST_POINTS}; over one decade of radii, {points} points can "
            f"show at most D₂ = 2 log₁₀ {points} = {bound:.1f} (Eckmann and Ruelle)"
        )


def _check_radii(radii: Any) -> None:
    if radii is None:
        return
    ends = parse_numbers(radii, "radii")
    if ends.shape != (2,) or not 0 < ends[0] < ends[1]:
        raise UserError(f"radii is {describe(radii)}; allowed: (low, high) with 0 < low < high")


def _fit_mask(
    grid: np.ndarray, sums: np.ndarray, radii: tuple[float, float] | None, *, points: int, pairs: float
) -> np.ndarray:
    """A mask [radius] of the radii in the fit."""
    if radii is None:
        # With less than one neighbour per point, an orbit that fills its set regularly is not resolved.
        lower = max(LEAST_PAIRS / pairs, 1 / points)
        fitted = (sums >= lower) & (sums <= min(max(SHARE, 10 * lower), 0.5))
    else:
        fitted = (grid >= radii[0]) & (grid <= radii[1]) & (sums > 0)
    if np.count_nonzero(fitted) < LEAST_RADII:
        condition = "contain enough pairs" if radii is None else f"lie between {radii[0]:g} and {radii[1]:g}"
        raise UserError(
            f"too few radii {condition} for a slope; distances run from {grid[0]:.3g} to {grid[-1]:.3g}; "
            "give radii=(low, high) well within this range, or more points"
        )
    return fitted


def _bound_warnings(value: float, bound: float, points: int) -> list[str]:
    limit = f"{bound:.2f}, the largest that {points} points can show over this range (Eckmann and Ruelle)"
    if value > bound:
        return [f"D₂ = {value:.2f} is above {limit}: there are too few points"]
    if value > NEAR * bound:
        return [f"D₂ = {value:.2f} is close to {limit}: it may be underestimated"]
    return []


def _fit_warnings(value: float, halves: tuple[float, float], shifted: bool) -> list[str]:
    if abs(halves[0] - halves[1]) <= 0.05 + 0.1 * abs(value) and not shifted:
        return []
    return [
        f"ln C is not a straight line: its slope is {halves[0]:.2f} over the lower half of the range and {halves[1]:.2f} "
        "over the upper; plot the sums and choose radii"
    ]


def _width_warnings(value: float, reach: float) -> list[str]:
    if reach <= WIDE * abs(value):
        return []
    return [
        f"D₂ = {value:.2f} is known to within ±{reach:.2f} only: there are too few points, or they fill their set too evenly, "
        "as those of a quasiperiodic orbit; use more points"
    ]


def _scalar_warnings(numbers: int, high: float) -> list[str]:
    """A warning if the dimension may be limited by that of the numbers themselves."""
    if numbers > 1 or high < SATURATED:
        return []
    return [
        "D₂ of a scalar series is at most 1, and this one is close to it: if the series is one of several variables, embed "
        "it, for two delays as np.stack([x[:-1], x[1:]], 1), with more delays until D₂ stays the same"
    ]


def _span_warnings(low: float, high: float) -> list[str]:
    if high / low >= LEAST_SPAN:
        return []
    return [
        f"the radii of the fit span a factor of {high / low:.1f} only: the slope at small radii may be higher; use more points"
    ]


def _neighbour_warnings(points: np.ndarray, theiler: int, radius: float, share: float) -> list[str]:
    """A warning if points are close because they follow each other in time."""
    lag = theiler + 1
    near = float((np.linalg.norm(points[lag:] - points[:-lag], axis=1) <= radius).mean())
    if near <= 5 * share + 0.05:
        return []
    return [
        f"{near:.0%} of the points {lag} apart in time are closer than the upper radius, but only {share:.0%} of all pairs: "
        f"neighbours in time appear as structure; increase {spelled('theiler')} above {theiler}"
    ]
