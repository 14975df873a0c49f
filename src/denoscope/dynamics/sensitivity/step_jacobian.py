"""The Jacobians of single steps, and the determinant of their product."""

from __future__ import annotations

import math

import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, check_finite_derivatives
from denoscope.models.schedulers import keeps_no_history

AT_ONCE = 32
"""The number of directions in one call of the network."""
AGREEMENT = 1e-6
"""The largest relative difference of two values of ln|det| that differ by rounding errors of the Jacobian."""


def step_jacobian(flow: DenoisingMap, index: int, x: torch.Tensor) -> torch.Tensor:
    """∂x_{k+1}/∂x_k of one step as a matrix [size, size] in float64."""
    unit = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape[1:])
    rows = [
        check_finite_derivatives(flow.pull_step(index, x, part), flow.denoiser)
        for part in unit.split(AT_ONCE)
    ]
    return torch.cat(rows).flatten(1).double().cpu()


def log_determinant(flow: DenoisingMap, x_T: torch.Tensor) -> float | None:
    """ln|det ∂x_0/∂x_T| as the sum over steps of ln|det J_k| by LU; None if it cannot be computed.

    It cannot if a step has no derivative of its own, or if rounding errors of the elements change a determinant. To
    test the latter, each determinant is computed a second time, with random rounding errors added to the elements.
    """
    if not keeps_no_history(flow.denoiser.scheduler):
        return None
    total, moved = (x_T.numel() * math.log(flow.first_factor) for _ in range(2))
    draws = torch.Generator().manual_seed(0)
    for index, x in enumerate(flow.states(x_T)[:-1]):
        jacobian = step_jacobian(flow, index, x)
        signs = torch.randn(jacobian.shape, generator=draws, dtype=jacobian.dtype).sign()
        total += log_abs_det(jacobian)
        moved += log_abs_det(jacobian * (1 + torch.finfo(x.dtype).eps * signs))
    return total if abs(total - moved) <= AGREEMENT * max(1.0, abs(total)) else None


def log_abs_det(jacobian: torch.Tensor) -> float:
    """ln|det J|; −∞ for a singular matrix."""
    return float(torch.linalg.slogdet(jacobian).logabsdet)
