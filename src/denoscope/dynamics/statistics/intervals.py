"""Confidence intervals, and the quantiles from which they are made."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from scipy import special

from denoscope.dynamics.statistics.arguments import parse_confidence

LARGEST_LOG = 300.0
"""Logarithm of the largest factor between a mean and the end of its interval; larger ones could overflow."""


def normal_quantile(confidence: float) -> float:
    """The z for which a standard normal variable lies in [−z, z] with probability `confidence`."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(confidence: float, degrees: int) -> float:
    """The t for which Student's t with `degrees` degrees of freedom lies in [−t, t] with probability `confidence`."""
    return float(special.stdtrit(degrees, (1 + parse_confidence(confidence)) / 2))


def wilson(
    successes: np.ndarray | float, trials: np.ndarray | float, *, confidence: float = 0.95
) -> np.ndarray:
    """The Wilson score interval [..., 2] of a probability, from `successes` in independent `trials`.

    Its ends are the solutions p of |p̂ − p| = z √(p(1−p)/n), with z the normal quantile of the confidence level. It is
    never empty, stays within [0, 1], and has a width at 0 and n successes, where p̂ ± z √(p̂(1−p̂)/n) has none.

    SciPy's `binomtest` computes it for one pair of integers; here both may be arrays, and trials may be fractional
    (`clustered_interval`).

    Caveats: it is too narrow if trials depend on each other, as neighbouring cells of a plane do.

    Source: Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    share, z = np.asarray(successes, dtype=float) / trials, normal_quantile(confidence)
    widened = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / widened
    half = z / widened * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At 0 and n successes one end is exactly 0 or 1, up to rounding.
    low = np.where(share == 0, 0.0, middle - half)
    high = np.where(share == 1, 1.0, middle + half)
    return np.stack([low, high], axis=-1)


def clustered_interval(
    shares: np.ndarray, draws: int | np.ndarray, *, confidence: float = 0.95
) -> np.ndarray:
    """The interval [..., 2] of a probability, from the shares [cluster, ...] of successes in `draws` of each cluster.

    It is Wilson's interval for an effective number of independent trials: p(1−p)/v, where v is the variance of the
    mean over all draws, times (z/t)² because v is estimated from few clusters. This number is at least 1 and at most
    the number of all draws. If all clusters agree, v is 0 and each cluster counts as one trial, so that the interval
    has a width at 0 and 1 too. For a single cluster its draws are the trials; the interval then says nothing about
    other clusters. Clusters of one draw each are independent trials.

    v = c/(c − 1) Σ (n_i (p_i − p))²/(Σ n_i)² over c clusters of n_i draws.

    Args:
        draws: their number, or the number in each cluster [cluster].

    Source: Dean and Pagano, J. Survey Statistics and Methodology 3, 484 (2015); degrees of freedom: Korn and Graubard,
        Survey Methodology 24, 193 (1998); clusters of unequal size: Cochran, Sampling Techniques, 3rd ed. (1977), eq. 11.30.
        Counting clusters that agree as one trial each is our own choice: it treats the draws of a cluster as copies.
    """
    clusters = len(shares)
    sizes = np.broadcast_to(np.asarray(draws, dtype=float), clusters)
    total, weights = sizes.sum(), sizes.reshape(-1, *[1] * (shares.ndim - 1))
    mean = (weights * shares).sum(axis=0) / total
    if clusters == 1 or (sizes == 1).all():
        return wilson(mean * total, total, confidence=confidence)
    differ = np.ptp(shares, axis=0) > 0
    variance = clusters / (clusters - 1) * ((weights * (shares - mean)) ** 2).sum(axis=0) / total**2
    ratio = (normal_quantile(confidence) / student_quantile(confidence, clusters - 1)) ** 2
    scattered = mean * (1 - mean) / np.where(differ, variance, 1)
    trials = np.where(differ, np.minimum(scattered, total) * ratio, clusters)
    trials = np.maximum(trials, 1)
    return wilson(mean * trials, trials, confidence=confidence)


def mean_interval(values: np.ndarray, *, confidence: float = 0.95) -> np.ndarray:
    """The interval [..., 2] of the mean of positive quantities, from independent values [n, ...]; NaN for a single value.

    Student's interval of the logarithm of the mean, m·exp(±t s/(m √n)): its ends are positive, and it contains the means
    of skewed distributions more often than m ± t s/√n.

    Source: delta method, e.g. Casella and Berger, Statistical Inference, 2nd ed. (2002), sec. 5.5.4.
    """
    number, mean = len(values), values.mean(axis=0)
    if number == 1:
        return np.full((*mean.shape, 2), math.nan)
    error = values.std(axis=0, ddof=1) / math.sqrt(number)
    relative = np.divide(error, mean, out=np.zeros_like(mean), where=error > 0)
    reach = np.exp(np.minimum(student_quantile(confidence, number - 1) * relative, LARGEST_LOG))
    return np.stack([mean / reach, mean * reach], axis=-1)


def median_interval(values: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the median of the distribution behind independent values; None if there are too few values.

    Its ends are order statistics, so that no distribution is assumed. For 95 % there must be at least 6 values.

    Source: Conover, Practical Nonparametric Statistics, 3rd ed. (1999), sec. 3.2, by `scipy.stats.quantile_test`.
    """
    from scipy import stats  # takes a second

    interval = stats.quantile_test(values, p=0.5).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def percentile_interval(values: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """The central interval that contains a share `confidence` of the finite values; NaN if no value is finite."""
    finite, tail = values[np.isfinite(values)], (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail]) if finite.size else (math.nan, math.nan)
    return float(low), float(high)
