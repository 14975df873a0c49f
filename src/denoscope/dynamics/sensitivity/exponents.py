"""Exponents from singular values, and the limits that rounding sets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

MARGIN = 10.0
"""A singular value is resolved if it exceeds this many rounding errors of the whole derivative."""
NOTICED = 100.0
"""Rounding errors beyond this many of the dtype's own show that a part computes in a lower precision."""
LEAST_TOLERANCE = 1e-6
"""Residuals are judged by at least this tolerance, because rounding alone may exceed the root of a smaller one."""


def log_values(values: torch.Tensor) -> np.ndarray:
    """Natural logarithms in float64; −∞ for a singular value of 0."""
    with np.errstate(divide="ignore"):
        return np.log(values.double().cpu().numpy())


def measured_rounding(
    push: Callable[[torch.Tensor], torch.Tensor], direction: torch.Tensor, image: torch.Tensor | None = None
) -> float:
    """The relative rounding error of a derivative along a direction [C, H, W], 0 if its image is 0.

    A third of the direction must have a third of its image; any difference is rounding. A scheduler or a network may
    compute in a lower precision than that of the states.

    Args:
        push: maps rows to their images.
        image: that of the direction, in float64, if it is known.
    """
    rows = [direction, direction / 3] if image is None else [direction / 3]
    *pushed, of_third = push(torch.stack(rows)).double().cpu()
    expected = pushed[0] if image is None else image
    size = float(expected.norm())
    return float((3 * of_third - expected).norm()) / size if size else 0.0


def derivative_precision(measured: float, dtype: torch.dtype) -> float:
    """The relative rounding error of a derivative: ε of the dtype, or the measured one if it is far larger."""
    epsilon = float(torch.finfo(dtype).eps)
    return measured if measured > NOTICED * epsilon else epsilon


def resolved_depth(precision: float, spread: float = 1.0) -> float:
    """How far below the largest an exponent may lie, −ln(10 ε ‖J‖_F/σ₁), with `spread` ‖J‖_F/σ₁."""
    return -math.log(MARGIN * precision * spread)


def depth(exponents: np.ndarray) -> np.ndarray:
    """How far the smallest exponent [..., k] lies below the largest; 0 if all are −∞.

    −∞ does not count: it is exact, because the map takes the direction to zero.
    """
    known = np.isfinite(exponents)
    largest = np.where(known, exponents, -np.inf).max(axis=-1)
    smallest = np.where(known, exponents, np.inf).min(axis=-1)
    return np.subtract(largest, smallest, out=np.zeros_like(largest), where=known.any(axis=-1))


def too_deep(exponents: np.ndarray, precision: float) -> np.ndarray:
    """Whether each exponent [..., k] lies so far below the largest that rounding decides it; never if it is −∞."""
    largest = exponents.max(axis=-1, keepdims=True)
    return np.isfinite(exponents) & (exponents < largest - resolved_depth(precision))


def spread_of(exponents: np.ndarray) -> float:
    """‖J‖_F/σ₁ for a derivative with these exponents alone."""
    return float(np.sqrt(np.exp(2 * (exponents - exponents[0])).sum())) if np.isfinite(exponents[0]) else 1.0


def spoiled(
    exponents: np.ndarray, residuals: np.ndarray, *, precision: float, spread: float, tolerance: float
) -> np.ndarray:
    """Whether rounding spoils each exponent [k]: it is too deep, or its residual is too large.

    The error of a singular value is of second order in its residual, so that residuals are compared with the root of the
    tolerance.
    """
    deep = exponents < exponents[0] - resolved_depth(precision, spread)
    return deep | (residuals > math.sqrt(max(tolerance, LEAST_TOLERANCE)))


def precision_advice(precision: float, dtype: torch.dtype, *, lower: str = "", double: str = "") -> str:
    """What helps against rounding errors of this size.

    `lower` is what else helps if a part computes in a lower precision than the dtype, `double` what helps in float64.
    """
    if precision > NOTICED * torch.finfo(dtype).eps:
        other = f"{lower}, or " if lower else "use "
        return (
            f"the scheduler or the network computes in a lower precision; {other}a scheduler that keeps "
            f"{str(dtype).removeprefix('torch.')}, such as DDIM"
        )
    return double if dtype == torch.float64 else "load the denoiser with dtype='float64'"


def precision_warnings(
    exponents: np.ndarray, unresolved: np.ndarray, *, precision: float, dtype: torch.dtype
) -> list[str]:
    """A warning that names the exponents which rounding spoils, if there are any."""
    if not unresolved.any():
        return []
    numbers = ", ".join(str(number + 1) for number in np.flatnonzero(unresolved)[:5])
    more = ", …" if np.count_nonzero(unresolved) > 5 else ""
    advice = precision_advice(precision, dtype, lower="use full_spectrum", double="use full_spectrum")
    return [
        f"{np.count_nonzero(unresolved)} of {len(exponents)} exponents are spoiled by rounding errors of {precision:.0e} "
        f"(numbers {numbers}{more}): their residuals are too large, or they lie too far below the largest; {advice}"
    ]
