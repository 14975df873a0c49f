"""Exponents from singular values, and the limits that rounding sets."""

from __future__ import annotations

import math

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


def derivative_precision(measured: float, dtype: torch.dtype) -> float:
    """The relative rounding error of a derivative: ε of the dtype, or the measured one if it is far larger."""
    epsilon = float(torch.finfo(dtype).eps)
    return measured if measured > NOTICED * epsilon else epsilon


def resolved_depth(precision: float, spread: float = 1.0) -> float:
    """How far below the largest an exponent may lie, −ln(10 ε ‖J‖_F/σ₁), with `spread` ‖J‖_F/σ₁."""
    return -math.log(MARGIN * precision * spread)


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


def precision_warnings(
    exponents: np.ndarray, unresolved: np.ndarray, *, precision: float, dtype: torch.dtype
) -> list[str]:
    """A warning that names the exponents which rounding spoils, if there are any."""
    if not unresolved.any():
        return []
    numbers = ", ".join(str(number + 1) for number in np.flatnonzero(unresolved)[:5])
    more = ", …" if np.count_nonzero(unresolved) > 5 else ""
    dtype_name = str(dtype).removeprefix("torch.")
    if precision > NOTICED * torch.finfo(dtype).eps:
        advice = (
            "the scheduler or the network computes in a lower precision; use full_spectrum, or a scheduler that keeps "
            f"{dtype_name}, such as DDIM"
        )
    elif dtype == torch.float64:
        advice = "use full_spectrum"
    else:
        advice = "load the denoiser with dtype='float64'"
    return [
        f"{np.count_nonzero(unresolved)} of {len(exponents)} exponents are spoiled by rounding errors of {precision:.0e} "
        f"(numbers {numbers}{more}): their residuals are too large, or they lie too far below the largest; {advice}"
    ]
