"""Exponents from singular values, and the limit that rounding sets to them."""

from __future__ import annotations

import math

import numpy as np
import torch


def log_values(values: torch.Tensor) -> np.ndarray:
    """Natural logarithms in float64; −∞ for a singular value of 0."""
    with np.errstate(divide="ignore"):
        return np.log(values.double().cpu().numpy())


def precision_warnings(exponents: np.ndarray, dtype: torch.dtype) -> list[str]:
    """A warning if exponents lie further below the largest than the precision resolves."""
    depth = -math.log(torch.finfo(dtype).eps)
    lost = int(np.sum(exponents < exponents[0] - depth))
    if not lost:
        return []
    precision = str(dtype).removeprefix("torch.")
    advice = "use full_spectrum" if dtype == torch.float64 else "load the denoiser with dtype='float64'"
    return [
        f"{lost} of {len(exponents)} exponents lie more than {depth:.0f} below the largest, where {precision} holds only "
        f"rounding errors; {advice}"
    ]
