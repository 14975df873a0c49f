"""Standard errors by batch means and by the jackknife."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from denoscope.dynamics.statistics.intervals import student_quantile

GROUPS = 20
"""The number of groups that the jackknife leaves out in turn, unless there are fewer samples."""


def batch_error(series: np.ndarray, *, batches: int) -> np.ndarray:
    """The standard error of the mean over time of a correlated series [time, …], from the means of batches.

    The series is cut into consecutive batches of nearly equal length. The means of batches that are longer than the
    correlation time are nearly independent: s.e. = sd(batch means)/√batches.

    Caveats: the error is too small if the correlation time reaches the length of a batch.

    Source: Flegal and Jones, Annals of Statistics 38 (2010), non-overlapping batch means.
    """
    means = np.stack([part.mean(axis=0) for part in np.array_split(series, batches)])
    return means.std(axis=0, ddof=1) / np.sqrt(batches)


def jackknife_error(estimates: np.ndarray) -> np.ndarray:
    """The standard error of an estimate, from the g estimates [g, …] that leave out one part of the data each.

    s.e.² = (g − 1)/g · Σ (estimate_i − mean)².

    Source: Efron and Stein, Annals of Statistics 9, 586 (1981).
    """
    g = len(estimates)
    return np.sqrt((g - 1) / g * ((estimates - estimates.mean(axis=0)) ** 2).sum(axis=0))


def jackknife_reach(
    estimates_of: Callable[[np.ndarray], np.ndarray], samples: int, *, confidence: float
) -> float:
    """Half the width of the interval of an estimate from samples, by the jackknife over groups of samples.

    It is infinite if one of the estimates is NaN: the group left out then contained all the variation, so that the data
    do not bound the estimate.

    Caveats: the jackknife counts the part of the variance that is due to pairs of samples twice, so that the interval is
    too wide, by up to √2, for estimates that are quadratic in the samples and have no other variance.

    Args:
        estimates_of: the estimates [n] from those samples that masks [n, sample] of booleans keep.
    """
    groups = min(GROUPS, samples)
    group_of = np.arange(samples) * groups // samples
    without_one = estimates_of(group_of != np.arange(groups)[:, None])
    reach = student_quantile(confidence, groups - 1) * float(jackknife_error(without_one))
    return np.inf if np.isnan(reach) else reach
