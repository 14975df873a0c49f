"""Exponents from the growth of a frame along an orbit: means, intervals and warnings."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.standard_errors import batch_error
from denoscope.foundation.spelling import spelled

BATCHES = 20
FEW_ITERATIONS = 1000


def mean_growth(growth: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the interval of each exponent; exactly −∞ where a derivative was singular."""
    exponents = growth.mean(axis=0)
    measured = np.isfinite(exponents)
    reach = np.zeros_like(exponents)
    reach[measured] = student_quantile(confidence, BATCHES - 1) * batch_error(
        growth[:, measured], batches=BATCHES
    )
    return exponents, np.stack([exponents - reach, exponents + reach], axis=1)


def growth_warnings(growth: np.ndarray, dtype: torch.dtype) -> list[str]:
    """Warnings about precision, the number of iterations, singular derivatives and slow convergence."""
    warnings, precision = [], str(dtype).removeprefix("torch.")
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
    lost = growth.min(axis=1) < growth.max(axis=1) + np.log(torch.finfo(dtype).eps)
    if lost.any() and not singular.any():
        warnings.append(
            f"in {np.count_nonzero(lost)} of {len(growth)} iterations the growth of two directions differs by more than "
            f"{precision} resolves: the smallest exponents are rounding errors; reduce {spelled('k')}"
        )
    return warnings + [
        f"exponent {number} has not converged: {first:.4g} over the first half, {second:.4g} over the second; increase "
        f"{spelled('iterations')} or {spelled('discard')}"
        for number, first, second in _drifting(growth[:, ~singular])
    ]


def _drifting(growth: np.ndarray) -> list[tuple[int, float, float]]:
    """(number, mean of the first half, mean of the second) of exponents whose halves differ by four standard errors."""
    halves = np.array_split(growth, 2)
    means = [half.mean(axis=0) for half in halves]
    errors = [batch_error(half, batches=BATCHES // 2) for half in halves]
    allowed = 4 * np.hypot(*errors) + 1e-6
    drifting = np.flatnonzero(np.abs(means[0] - means[1]) > allowed)
    return [(int(k) + 1, float(means[0][k]), float(means[1][k])) for k in drifting]
