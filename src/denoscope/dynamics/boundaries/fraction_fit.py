"""A power law fitted to the fractions of uncertain pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from denoscope.dynamics.statistics.intervals import normal_quantile, percentile_interval
from denoscope.dynamics.statistics.line_fit import weighted_line

DRAWS = 1000
"""Number of bootstrap samples."""
ROUNDS = 30
"""Iterations of the fit, which converges after five or six."""
SATURATED = 0.75
"""A distance exceeds the width of the basins if its fraction reaches this share of that of unrelated points."""
BENT = 2.6
"""The fractions do not follow a line if the bend exceeds this many standard errors, as scatter does in 1 % of cases."""
LEAST_LOG = -100.0
"""Lower bound of ln f along the line, below which its exponential underflows."""


@dataclass(frozen=True)
class FractionFit:
    """Slope and intercept [...] of ln f over x, and the standard error of the slope; NaN if there is no line."""

    slope: np.ndarray
    intercept: np.ndarray
    error: np.ndarray


def fit_fractions(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray) -> FractionFit:
    """The line ln f = slope·x + intercept that makes counts [..., e] of `number` pairs most likely.

    It is fitted by iteratively reweighted least squares of a binomial model with logarithmic link, and the standard error
    follows from the Fisher information. A line needs two counts above 0.

    Args:
        x: logarithms of the distances [e].
        used: the distances in the fit [e].

    Source: McCullagh, Nelder, Generalized Linear Models, 2nd ed. (1989). SciPy has no such model.
    """
    share = hits / number
    fraction = (hits + 0.5) / (number + 1)
    for _ in range(ROUNDS):
        weights = np.where(used, number * fraction / (1 - fraction), 0.0)
        slope, intercept = weighted_line(x, np.log(fraction) + share / fraction - 1, weights)
        line = slope[..., None] * x + intercept[..., None]
        # The upper bound, half a pair below all pairs, keeps the weight finite where the line exceeds 1.
        fraction = np.exp(np.clip(line, LEAST_LOG, math.log1p(-0.5 / number)))
    known = (used & (hits > 0)).sum(axis=-1) >= 2
    middle = (weights * x).sum(axis=-1) / weights.sum(axis=-1).clip(min=1e-300)
    information = (weights * (x - middle[..., None]) ** 2).sum(axis=-1)
    return FractionFit(
        slope=np.where(known, slope, np.nan),
        intercept=np.where(known, intercept, np.nan),
        error=np.where(known, information.clip(min=1e-300) ** -0.5, np.nan),
    )


def slope_interval(
    x: np.ndarray,
    uncertain: np.ndarray,
    used: np.ndarray,
    fit: FractionFit,
    draws: np.random.Generator,
    confidence: float,
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """The interval of the slope, and a warning if the fractions do not follow a line.

    It is the union of two intervals, bootstrap percentiles over points and slope ± z·error, widened by the misfit: the part
    of the difference between the slopes of the smaller and the larger distances that scatter does not explain. The
    second interval is needed because a count of 0 stays 0 in every bootstrap sample.

    Args:
        uncertain: whether the pair of each point differs at each distance [point, e].
    """
    number, hits = len(uncertain), uncertain.sum(axis=0)
    # Points with the same pattern are exchangeable, and there are few patterns.
    patterns, times = np.unique(uncertain, axis=0, return_counts=True)
    drawn = draws.multinomial(number, times / number, DRAWS) @ patterns.astype(float)
    low, high = percentile_interval(fit_fractions(x, drawn, number, used).slope, confidence=confidence)
    slope, reach = float(fit.slope), normal_quantile(confidence) * float(fit.error)
    low, high = float(np.fmin(low, slope - reach)), float(np.fmax(high, slope + reach))
    bend, scatter = float(_bend(x, hits, number, used)), _bend(x, drawn, number, used)
    error = float(np.nanstd(scatter)) if np.isfinite(scatter).any() else math.nan
    if not abs(bend) > error:  # also if there are too few distances for two slopes
        return (low, high), ()
    misfit = math.sqrt(bend**2 - error**2)
    interval = slope - math.hypot(slope - low, misfit), slope + math.hypot(high - slope, misfit)
    return interval, (_bend_warning(bend),) if abs(bend) > BENT * error else ()


def _bend(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray) -> np.ndarray:
    """The slope [...] over the larger half of the used distances minus that over the disjoint smaller half."""
    half = len(x) if used.sum() < 4 else int(np.flatnonzero(used)[used.sum() // 2])
    below = np.arange(len(x)) < half
    smaller, larger = (fit_fractions(x, hits, number, used & part).slope for part in (below, ~below))
    return larger - smaller


def _bend_warning(bend: float) -> str:
    return (
        f"the fractions are not a power law: the slope changes by {bend:+.2f} from the smaller to the larger epsilons; see "
        "local_slopes, and take smaller epsilons"
    )


def local_slopes(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray) -> np.ndarray:
    """Slopes [e − 1] of ln f between neighbouring distances, NaN if one of the two is not used or has no pairs."""
    known = used & (hits > 0)
    slopes = np.diff(np.log(np.where(hits > 0, hits, 1) / number)) / np.diff(x)
    return np.where(known[:-1] & known[1:], slopes, np.nan)


def residuals(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray, fit: FractionFit) -> np.ndarray:
    """ln f minus the line [e], NaN if a distance is not used or has no pairs."""
    logs = np.log(np.where(hits > 0, hits, 1) / number)
    return np.where(used & (hits > 0), logs - fit.slope * x - fit.intercept, np.nan)


def usable_fractions(
    hits: np.ndarray, number: int, unrelated: float, distances: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The fractions that depend on the boundary [e], and warnings about the others."""
    warnings = []
    all_differ = hits == number
    saturated = (hits >= SATURATED * unrelated * number) & (unrelated > 0)
    if all_differ.any():
        warnings.append(f"all pairs differ at epsilon {_listed(distances[all_differ])}, which is left out")
    if not hits.any():
        warnings.append("no pairs differ at any epsilon; take larger ones")
    if not unrelated:
        warnings.append("all points have the same label; take points from a wider region")
    if saturated.all() and not all_differ.all():
        warnings.append(
            "pairs differ as often as unrelated points at every epsilon: noise, or basins finer than the epsilons"
        )
    elif (saturated & ~all_differ).any():
        warnings.append(
            f"epsilon {_listed(distances[saturated & ~all_differ])} exceeds the width of the basins and is left out; "
            "the fractions may level off before it"
        )
    used = ~all_differ & (~saturated | saturated.all())
    positive = distances[used & (hits > 0)]
    if used.sum() < 3 or len(positive) < 2:
        warnings.append(
            f"{used.sum()} fractions can be used and {len(positive)} of them are above 0, but a fit needs 3 and 2: the "
            "exponent is NaN; take other epsilons or more points"
        )
        used = np.zeros_like(used)
    elif np.log10(positive.max() / positive.min()) < 1:
        warnings.append(
            "the epsilons in the fit span less than a decade: the exponent is not evidence of a fractal"
        )
    return used, tuple(warnings)


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
