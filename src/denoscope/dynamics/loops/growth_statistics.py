"""Exponents from the growth of a frame along an orbit: means, intervals and warnings."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.standard_errors import batch_error
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.spelling import spelled

BATCHES = 20
COARSER = (10, 5)
"""Numbers of longer batches, for growth that is correlated over a batch."""
SIDES = 0.1
"""The part of the standard deviation by which a growth must differ from the mean to lie on one side of it."""
SMALLEST_DEVIATION = 1e-9
"""The smallest deviation of a growth that is more than rounding and the end of a transient."""
LONG, LONG_PART = 2.0, 0.15
"""Growth is correlated over a batch if it stays on one side of its mean for more than twice as long as independent
growths would, and for at least this part of a batch."""
TREND = 3.29
"""Kendall's statistic of the means of batches, in standard deviations, that one of a thousand independent series exceeds."""
VANISHING = 16
"""Derivatives below this multiple of ε may be 0 in exact arithmetic."""
FEW_ITERATIONS = 1000


def mean_growth(growth: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the interval of each exponent; exactly −∞ where a derivative was singular."""
    exponents = growth.mean(axis=0)
    measured = np.isfinite(exponents)
    reach = np.zeros_like(exponents)
    reach[measured] = _reach(growth[:, measured], BATCHES, confidence)
    for number in {*_correlated(growth[:, measured]), *_trending(growth[:, measured])}:
        column = np.flatnonzero(measured)[number]
        series = growth[:, [column]]
        widest = max(float(_reach(series, batches, confidence)[0]) for batches in (BATCHES, *COARSER))
        first, second = (half.mean() for half in np.array_split(series, 2))
        reach[column] = np.hypot(widest, first - second)
    return exponents, np.stack([exponents - reach, exponents + reach], axis=1)


def _reach(growth: np.ndarray, batches: int, confidence: float) -> np.ndarray:
    """Half the width of Student's interval of each mean, from the means of batches."""
    return student_quantile(confidence, batches - 1) * batch_error(growth, batches=batches)


def _correlated(growth: np.ndarray) -> list[int]:
    """The exponents, counted from 0, with a growth that is correlated over a batch.

    Too few iterations show no correlation; there is a warning about them anyway.
    """
    if len(growth) < FEW_ITERATIONS:
        return []
    least = LONG_PART * len(growth) / BATCHES
    return [number for number, series in enumerate(growth.T) if _longest_stay(series) >= least]


def _trending(growth: np.ndarray) -> list[int]:
    """The exponents, counted from 0, with means of batches that rise or fall along the orbit.

    Growth that alternates, as near a cycle of period two that attracts slowly, hides such a trend from `_correlated`.

    Source: Kendall, Biometrika 30, 81 (1938), for τ; Mann, Econometrica 13, 245 (1945), for the test.
    """
    if len(growth) < FEW_ITERATIONS:
        return []
    means = np.stack([part.mean(axis=0) for part in np.array_split(growth, BATCHES)])
    pairs = np.triu_indices(BATCHES, 1)
    concordance = np.sign(means[None, :] - means[:, None])[pairs].sum(axis=0)
    deviation = np.sqrt(BATCHES * (BATCHES - 1) * (2 * BATCHES + 5) / 18)
    trend = (np.abs(concordance) > TREND * deviation) & (np.ptp(means, axis=0) > SMALLEST_DEVIATION)
    return np.flatnonzero(trend).tolist()


def _longest_stay(series: np.ndarray) -> int:
    """The longest time on one side of the mean; 0 if independent values would stay for half as long.

    Among n independent values, of which a share p lies on that side, it is about ln(n (1 − p))/ln(1/p).

    Source: Schilling, The College Mathematics Journal 21, 196 (1990).
    """
    away, longest = series - series.mean(), 0
    least = max(SIDES * series.std(), SMALLEST_DEVIATION)
    for side in (away > least, away < -least):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], side, [False]])))
        stay, share = int((edges[1::2] - edges[::2]).max(initial=0)), float(side.mean())
        independent = np.log(max(len(series) * (1 - share), 2)) / -np.log(share) if 0 < share < 1 else np.inf
        longest = max(longest, stay if stay > LONG * independent else 0)
    return longest


def growth_warnings(growth: np.ndarray, dtype: torch.dtype) -> list[str]:
    """Warnings about precision, the number of iterations, singular derivatives and slow convergence."""
    warnings, precision = [], name_of(dtype)
    if dtype != torch.float64:
        warnings.append(f"x0 is {precision}, to which the orbit is rounded; use float64 if step allows it")
    if len(growth) < FEW_ITERATIONS:
        warnings.append(
            f"{len(growth)} iterations are few: the intervals are from batches of {len(growth) // BATCHES}; use "
            f"{FEW_ITERATIONS} or more"
        )
    singular = ~np.isfinite(growth).all(axis=0)
    if singular.any():
        warnings.append(
            f"the derivative is singular along the orbit: exponents from number {int(singular.argmax()) + 1} on are −∞"
        )
    vanishing = growth.max(axis=1) < np.log(VANISHING * torch.finfo(dtype).eps)
    if vanishing.any() and not singular.any():
        warnings.append(
            f"the derivative is no larger than the rounding errors of states in {np.count_nonzero(vanishing)} of "
            f"{len(growth)} iterations, as on a superstable cycle, whose exponents are −∞: the numbers may be those of rounding"
        )
    lost = growth.min(axis=1) < growth.max(axis=1) + np.log(torch.finfo(dtype).eps)
    if lost.any() and not singular.any():
        warnings.append(
            f"in {np.count_nonzero(lost)} of {len(growth)} iterations the growth of two directions differs by more than "
            f"{precision} resolves: the smallest exponents are rounding errors; reduce {spelled('k')}"
        )
    measured = growth[:, ~singular]
    correlated = _correlated(measured)
    warnings += [
        f"the growth of exponent {number + 1} stays on one side of its mean for {_longest_stay(measured[:, number])} "
        f"iterations, a large part of a batch of {len(growth) // BATCHES}: its interval is widened and may still be too "
        f"narrow, as in slow convergence or intermittency; increase {spelled('iterations')}"
        for number in correlated
    ]
    warnings += [
        f"the growth of exponent {number + 1} rises or falls from batch to batch along the orbit, as in slow convergence: its "
        f"interval is widened and may still be too narrow; increase {spelled('iterations')} or {spelled('discard')}"
        for number in _trending(measured)
        if number not in correlated
    ]
    return warnings + [
        f"exponent {number} has not converged: {first:.4g} over the first half, {second:.4g} over the second; increase "
        f"{spelled('iterations')} or {spelled('discard')}"
        for number, first, second in _drifting(measured)
    ]


def _drifting(growth: np.ndarray) -> list[tuple[int, float, float]]:
    """(number, mean of the first half, mean of the second) of exponents whose halves differ by four standard errors."""
    halves = np.array_split(growth, 2)
    means = [half.mean(axis=0) for half in halves]
    errors = [batch_error(half, batches=BATCHES // 2) for half in halves]
    allowed = 4 * np.hypot(*errors) + 1e-6
    drifting = np.flatnonzero(np.abs(means[0] - means[1]) > allowed)
    return [(int(k) + 1, float(means[0][k]), float(means[1][k])) for k in drifting]
