"""The Jacobians of single steps, and the determinant of their product."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, check_finite_derivatives
from denoscope.models.schedulers import keeps_no_history

AT_ONCE = 32
"""The number of directions in one call of the network."""
StepJacobians = Callable[[int], Iterator[torch.Tensor]]
"""From a step, the Jacobian of it and of all later ones, each as a matrix [size, size] in float64."""
AGREEMENT = 1e-6
"""The largest relative difference of two values of ln|det| that differ by rounding errors of the Jacobian."""


def step_jacobian(flow: DenoisingMap, index: int, x: torch.Tensor) -> torch.Tensor:
    """∂x_{k+1}/∂x_k of one step as a matrix [size, size] in float64."""
    parts = [step_rows(flow, index, x, first) for first in range(0, x.numel(), AT_ONCE)]
    return torch.cat(parts).double()


def step_rows(flow: DenoisingMap, index: int, x: torch.Tensor, first: int) -> torch.Tensor:
    """Up to `AT_ONCE` rows [n, size] of that matrix from row `first` on, in the precision of x, on the CPU."""
    size = x.numel()
    unit = torch.eye(size, dtype=x.dtype, device=x.device)[first : first + AT_ONCE]
    rows = flow.pull_step(index, x, unit.reshape(-1, *x.shape[1:]))
    return check_finite_derivatives(rows, flow.denoiser).flatten(1).cpu()


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
