"""How far an estimate may be off: standard errors that hold for correlated series, and intervals made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from denoscope.dynamics.statistics.draws import checked_confidence
from denoscope.dynamics.statistics.proportion import normal_quantile, wilson

HALVED = 60
"""Times that an interval is, until float64 has no numbers within it."""
GROUPS = 20
"""Of samples, that the jackknife leaves out in turn; as many as there are samples where those are fewer."""


def batch_error(series: np.ndarray, *, batches: int) -> np.ndarray:
    """Standard error of the mean over time of a correlated series [time, …], from the means of batches.

    The series is cut into consecutive batches of (nearly) equal length. Means of batches that are longer than the
    correlation time are nearly independent: s.e. = sd(batch means)/√batches.
    Too small where the correlation time reaches the length of a batch.
    Source: Flegal and Jones, Annals of Statistics 38 (2010), non-overlapping batch means.
    """
    means = np.stack([part.mean(axis=0) for part in np.array_split(series, batches)])
    return means.std(axis=0, ddof=1) / np.sqrt(batches)


def jackknife_error(estimates: np.ndarray) -> np.ndarray:
    """Standard error of an estimate from the g estimates [g, …] that leave out one part of the data each.

    s.e.² = (g − 1)/g · Σ (estimate_i − mean)².
    Source: Efron and Stein, Annals of Statistics 9, 586 (1981).
    """
    g = len(estimates)
    return np.sqrt((g - 1) / g * ((estimates - estimates.mean(axis=0)) ** 2).sum(axis=0))


def jackknife_reach(estimate_of: Callable[[np.ndarray], float], samples: int, *, confidence: float) -> float:
    """Half of the interval of an estimate from samples, by the jackknife over groups of them.

    `estimate_of` makes the estimate of the samples that are kept, which it is told as [sample] bool. Infinite where one
    of these estimates is NaN: the group that is left out held all that varies, so that the data do not bound it.
    """
    groups = min(GROUPS, samples)
    group_of = np.arange(samples) * groups // samples
    left = np.array([estimate_of(group_of != group) for group in range(groups)])
    reach = student_quantile(confidence, groups - 1) * float(jackknife_error(left))
    return np.inf if np.isnan(reach) else reach


def clustered_interval(shares: np.ndarray, draws: int, *, confidence: float = 0.95) -> np.ndarray:
    """The interval [..., 2] of a probability, from the shares [cluster, ...] of successes in `draws` of each cluster.

    Wilson's, of as many independent trials as would scatter like the means of the clusters do: p(1−p)/v, v the variance
    of their mean, fewer by (z/t)² for that v rests on few clusters. Never more than all draws, nor less than one. Where
    all clusters agree and v is 0, a cluster counts as one trial, and so it has a width at 0 and 1 too. Of one cluster
    its draws are the trials: they say nothing of other clusters.
    Source: Dean and Pagano, J. Survey Statistics and Methodology 3, 484 (2015); the degrees of freedom: Korn and
        Graubard, Survey Methodology 24, 193 (1998); all clusters agreeing is treated here as if draws of one were copies.
    """
    clusters, mean = len(shares), shares.mean(axis=0)
    if clusters == 1:
        return wilson(mean * draws, draws, confidence=confidence)
    variance = shares.var(axis=0, ddof=1) / clusters
    ratio = (normal_quantile(confidence) / student_quantile(confidence, clusters - 1)) ** 2
    scattered = mean * (1 - mean) / np.where(variance > 0, variance, 1)
    trials = np.where(variance > 0, np.minimum(scattered, clusters * draws) * ratio, clusters)
    trials = np.maximum(trials, 1)
    return wilson(mean * trials, trials, confidence=confidence)


def student_quantile(confidence: float, degrees: int) -> float:
    """The t that |Student's t| of so many degrees of freedom stays below with the given confidence.

    The probability is a finite sum in the angle arctan(t/√degrees), which is halved until it stands.
    Source: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    checked_confidence(confidence)
    low, high = 0.0, np.pi / 2
    for _ in range(HALVED):
        angle = (low + high) / 2
        low, high = (angle, high) if _student(angle, degrees) < confidence else (low, angle)
    return float(np.tan((low + high) / 2) * np.sqrt(degrees))


def _student(angle: float, degrees: int) -> float:
    """The probability that |t| < √degrees · tan(angle)."""
    odd = degrees % 2
    if degrees == 1:
        return 2 * angle / np.pi
    further = np.arange(2 + odd, degrees - 1, 2)
    terms = np.cumprod([np.cos(angle) ** odd, *((further - 1) / further * np.cos(angle) ** 2)])
    total = np.sin(angle) * terms.sum()
    return float(2 / np.pi * (angle + total) if odd else total)
