"""Check whether a step in float64 computes in a lower precision."""

from __future__ import annotations

import torch

from denoscope.dynamics.loops.derivative import METHODS
from denoscope.dynamics.loops.iterated_map import Step, map_at
from denoscope.dynamics.sensitivity.central_differences import root_mean_square
from denoscope.dynamics.statistics.arguments import EPSILON

TINY = 1e-8
"""A separation relative to the state, which float64 resolves to eight digits and float32 not at all."""
TOLERANCE = 0.1
ROUNDINGS = 8
"""How many rounding errors of float64 two states after a step may differ by."""


def precision_of_step_warnings(
    step: Step, x: torch.Tensor, iteration: int, method: str, direction: torch.Tensor
) -> list[str]:
    """A warning if a step in float64 computes in a lower precision, as some schedulers do.

    States that are 10⁻⁸ of their size apart must separate as the derivative says, on one side at least: a step may jump at x.
    """
    if x.dtype != torch.float64:
        return []
    function, h = map_at(step, iteration), TINY * root_mean_square(x)
    with torch.no_grad():
        moved = (h * direction).reshape(x.shape).to(x)
        below, here, above = (
            function(state).double().reshape(-1).cpu() for state in (x - moved, x, x + moved)
        )
    expected = METHODS[method](function, x, direction[:, None])[1][:, 0]
    size, rounding = float(expected.norm()), ROUNDINGS * EPSILON * float(x.double().norm()) / h
    errors = [float((difference / h - expected).norm()) for difference in (above - here, here - below)]
    if not size or min(errors) <= TOLERANCE * size + rounding:
        return []
    return [
        f"step computes in a lower precision than float64: states {h:.0e} apart do not separate as its derivative says; the "
        "orbit is rounded, and short cycles of rounding can replace chaos"
    ]
