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
"""Share of the fraction of unrelated points from which the distance exceeds the width of the basins."""
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
) -> tuple[float, float]:
    """The union of two intervals of the slope: bootstrap percentiles over points, and slope ± z·error.

    The second is needed because a count of 0 stays 0 in every bootstrap sample.

    Args:
        uncertain: whether the pair of each point differs at each distance [point, e].
    """
    # Points with the same pattern are exchangeable, and there are few patterns.
    patterns, times = np.unique(uncertain, axis=0, return_counts=True)
    drawn = draws.multinomial(len(uncertain), times / len(uncertain), DRAWS) @ patterns.astype(float)
    low, high = percentile_interval(
        fit_fractions(x, drawn, len(uncertain), used).slope, confidence=confidence
    )
    slope, reach = float(fit.slope), normal_quantile(confidence) * float(fit.error)
    return float(np.fmin(low, slope - reach)), float(np.fmax(high, slope + reach))


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
    every = hits == number
    saturated = (hits >= SATURATED * unrelated * number) & (unrelated > 0)
    if every.any():
        warnings.append(f"all pairs differ at epsilon {_listed(distances[every])}, which is left out")
    if not hits.any():
        warnings.append("no pairs differ at any epsilon; take larger ones")
    if not unrelated:
        warnings.append("all points have the same label; take points from a wider region")
    if saturated.all() and not every.all():
        warnings.append(
            "pairs differ as often as unrelated points at every epsilon: noise, or basins finer than the epsilons"
        )
    elif (saturated & ~every).any():
        warnings.append(
            f"epsilon {_listed(distances[saturated & ~every])} exceeds the width of the basins and is left out"
        )
    used = ~every & (~saturated | saturated.all())
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
