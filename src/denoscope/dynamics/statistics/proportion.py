"""Intervals of a proportion."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np


def wilson(successes: np.ndarray, trials: np.ndarray | float, *, confidence: float = 0.95) -> np.ndarray:
    """The Wilson score interval [..., 2] of the probability behind `successes` of independent `trials`.

    The p that solve |p̂ − p| = z √(p(1−p)/n), z the normal quantile of the confidence; never empty, never outside
    [0, 1], and of use at 0 and n successes, where p̂ ± z √(p̂(1−p̂)/n) has no width.
    Misleads where the trials depend on each other, as neighbouring cells of a plane do: it is then too narrow.

    Source: Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    share, z = np.asarray(successes, dtype=float) / trials, normal_quantile(confidence)
    widened = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / widened
    half = z / widened * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At 0 and n successes one end is exactly 0 or 1; rounding would miss it.
    low = np.where(share == 0, 0.0, middle - half)
    high = np.where(share == 1, 1.0, middle + half)
    return np.stack([low, high], axis=-1)


def normal_quantile(confidence: float) -> float:
    """The z with a probability of `confidence` between −z and z."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def median_interval(values: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the median behind independent values, between two of them; None where there are too few.

    From the j-th smallest to the j-th largest, with the largest j for which fewer than j of n fair coins show heads with
    a probability of at most (1 − confidence)/2: at least 6 values for 95 %. No law of the values is assumed.
    Source: Conover, Practical Nonparametric Statistics, 3rd ed. (1999), sec. 3.2.
    """
    n, below, j = len(values), 0.0, 0
    while (below := below + math.comb(n, j) / 2**n) <= (1 - confidence) / 2:
        j += 1
    ordered = np.sort(values)
    return (float(ordered[j - 1]), float(ordered[n - j])) if j else None


def percentiles(values: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """The middle part of the values that holds `confidence` of them; NaN where none is finite."""
    finite, tail = values[np.isfinite(values)], (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail]) if finite.size else (math.nan, math.nan)
    return float(low), float(high)
