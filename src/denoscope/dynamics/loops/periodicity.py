"""The period of an orbit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import check_not_tiny, parse_numbers
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer, parse_real

ROUNDING = 1e-12
"""Differences below this share of the size of states may be rounding errors of float64."""
ROUNDS = 3
"""The number of times that a cycle must repeat."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Periodicity(Result):
    """The period of an orbit and its cycle.

    Attributes:
        period: the shortest period, or None.
        cycle: [period, …] the states of the cycle.
        returns: [longest] for each period p = 1, 2, …, the largest distance between states that are p iterations apart,
            divided by the size of the orbit.
    """

    pictured: ClassVar[str] = "returns"
    rows: ClassVar[Mapping[str, str]] = {"returns": "iterations apart"}
    period: int | None
    cycle: np.ndarray
    returns: np.ndarray


@calls_checked
def periodicity(states: Any, *, longest: int = 64, tolerance: float = 1e-6) -> Periodicity:
    """The period of the end of an orbit [time, …]; the period of a fixed point is 1.

    It is the smallest p of 1 … longest with max ‖x_{n+p} − x_n‖ ≤ tolerance · size over the last 3·longest states. The
    size is the largest norm of all given states (1 if all are zero). Norms are L2.

    Interpretation: None means that the orbit has no period up to `longest`: it may be quasiperiodic, chaotic, or not
    have settled.

    Caveats: a drift of less than the tolerance per iteration reads as a fixed point, with a warning. If an orbit
    shrinks to zero, include its beginning, which sets the size.

    Raises: UserError if there are fewer than 3·longest states, the states have no numbers or are all below 1e-60, or an
        argument is out of range.
    """
    points = parse_numbers(states, "states")
    window = ROUNDS * parse_integer(longest, "longest", minimum=1)
    parse_real(tolerance, "tolerance", minimum=0)
    if points.ndim and len(points) and not points.size:
        raise UserError(f"states has shape {list(points.shape)}; allowed: states of at least one number")
    check_not_tiny(points, "states")
    if points.ndim == 0 or len(points) < window:
        most = len(np.atleast_1d(points)) // ROUNDS
        raise UserError(
            f"states has shape {list(points.shape)}; allowed: at least {window} states for {spelled('longest', longest)}; "
            f"iterate longer, or set {spelled('longest')} to at most {most}"
        )
    tail = points[-window:].reshape(window, -1)
    size = float(np.linalg.norm(points.reshape(len(points), -1), axis=1).max()) or 1.0
    lags = range(1, longest + 1)
    returns = np.array([np.linalg.norm(tail[p:] - tail[:-p], axis=1).max() for p in lags]) / size
    periods = np.flatnonzero(returns <= tolerance)
    period = int(periods[0]) + 1 if len(periods) else None
    return Periodicity(
        period=period,
        cycle=points[-period:] if period else points[:0],
        returns=returns,
        origin={"longest": longest, "tolerance": tolerance, "states": len(points), "window": window},
        warnings=tuple(_cycle_warnings(tail, period, tolerance, size)) if period else (),
    )


def _cycle_warnings(tail: np.ndarray, period: int, tolerance: float, size: float) -> list[str]:
    """Warnings if the cycle drifts, or if dynamics smaller than the tolerance do not return."""
    warnings = []
    start = len(tail) % period
    drift = np.linalg.norm(tail[-period:] - tail[start : start + period], axis=1).max()
    if drift > tolerance * size:
        warnings.append(
            f"the cycle drifts by {drift:.3g} over {len(tail)} iterations, more than the tolerance of one return; discard "
            "more iterations or reduce the tolerance"
        )
    error = np.linalg.norm(tail[period:] - tail[:-period], axis=1).max()
    spread = np.linalg.norm(tail - tail.mean(axis=0), axis=1).max()
    if error > ROUNDING * size and error > spread / 10:
        warnings.append(
            f"states differ by {error / size:.0e} of their size, less than the tolerance, and do not return: rounding, or "
            "an orbit with a large offset; subtract its mean and measure again"
        )
    return warnings
