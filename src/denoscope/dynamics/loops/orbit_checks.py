"""Checks whether rounding determines an orbit: it rests on a repelling cycle, or its step rounds the states."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.loops.derivative import METHODS
from denoscope.dynamics.loops.iterated_map import Diverged, Step, advance, map_at
from denoscope.dynamics.sensitivity.central_differences import root_mean_square
from denoscope.dynamics.statistics.arguments import EPSILON

LONGEST_REST = 64
"""The longest cycle that is looked for along the orbit itself; longer ones must show in the growth."""
SAME_GROWTH = 1e-9
"""The largest difference between the growths of two rounds of a cycle."""
REPELS = 1e-6
"""The mean growth per iteration from which a cycle repels, beyond the rounding of a neutral one."""
TINY = 1e-8
"""A separation relative to the state, which float64 resolves to eight digits and float32 not at all."""
TOLERANCE = 0.1
ROUNDINGS = 8
"""How many rounding errors of float64 two states after a step may differ by."""


def rest_warnings(step: Step, x: torch.Tensor, iteration: int, growth: np.ndarray) -> list[str]:
    """A warning if an orbit, now in state x, rests on a cycle that repels; `growth` is that of its leading direction.

    Rounding alone keeps an orbit there: any nearby orbit leaves.
    """
    mean = float(growth[-max(len(growth) // 4, 1) :].mean())
    if not mean > REPELS:
        return []
    period = _period_of(step, x, iteration, max(LONGEST_REST, _period_in(growth)))
    if period is None:
        return []
    where = "a fixed point" if period == 1 else f"a cycle of {period} states"
    return [
        f"the orbit rests on {where} that repels, with a growth of {mean:.4g} per iteration: rounding holds it there, and "
        "the exponents are those of this point, not of a typical orbit, whose intervals are unknown; start from another "
        "state, or add noise of the size of rounding in step"
    ]


def repeats(growth: np.ndarray) -> bool:
    """Whether the growth [iteration, direction] of the leading direction ends in a cycle."""
    return _period_in(growth[:, 0]) > 0


def precision_of_step_warnings(
    step: Step, x: torch.Tensor, iteration: int, method: str, direction: torch.Tensor
) -> list[str]:
    """A warning if a step in float64 computes in a lower precision, as some schedulers do.

    States that are 10⁻⁸ of their size apart must separate as the derivative says.
    """
    if x.dtype != torch.float64:
        return []
    function, h = map_at(step, iteration), TINY * root_mean_square(x)
    with torch.no_grad():
        moved = (h * direction).reshape(x.shape).to(x)
        difference = (function(x + moved) - function(x - moved)).double().reshape(-1).cpu() / (2 * h)
    expected = METHODS[method](function, x, direction[:, None])[1][:, 0]
    size, rounding = float(expected.norm()), ROUNDINGS * EPSILON * float(x.double().norm()) / h
    if not size or float((difference - expected).norm()) <= TOLERANCE * size + rounding:
        return []
    return [
        f"step computes in a lower precision than float64: states {h:.0e} apart do not separate as its derivative says; the "
        "orbit is rounded, and short cycles of rounding can replace chaos"
    ]


def _period_of(step: Step, x: torch.Tensor, iteration: int, longest: int) -> int | None:
    """The number of iterations after which the orbit is in exactly the same state again, at most `longest`."""
    state = x
    for period in range(1, longest + 1):
        try:
            state = advance(step, state, iteration + period - 1)
        except Diverged:
            return None
        if torch.equal(state, x):
            return period
    return None


def _period_in(growth: np.ndarray) -> int:
    """The smallest period with which the last values of a series repeat, at least three times; 0 if there is none."""
    for period in range(1, len(growth) // 3 + 1):
        tail = growth[-3 * period :]
        if abs(tail[-1] - tail[-1 - period]) <= SAME_GROWTH and np.allclose(
            tail[period:], tail[:-period], rtol=0, atol=SAME_GROWTH
        ):
            return period
    return 0
