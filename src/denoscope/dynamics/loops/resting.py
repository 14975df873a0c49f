"""Checks whether rounding holds an orbit, or a part of it, where the map repels and a typical orbit does not stay."""

from __future__ import annotations

import numpy as np
import torch

from denoscope.dynamics.loops.derivative import METHODS, SMALL_STATE
from denoscope.dynamics.loops.iterated_map import Diverged, Step, advance, check_state, map_at
from denoscope.dynamics.sensitivity.central_differences import root_mean_square
from denoscope.dynamics.statistics.standard_errors import batch_error

LONGEST_REST = 64
"""The longest cycle that is looked for along the orbit itself; longer ones must show in the growth."""
SAME_GROWTH = 1e-9
"""The largest difference between the growths of two rounds of a cycle."""
REPELS = 1e-6
"""The mean growth per iteration from which a cycle repels, beyond the rounding of a neutral one."""
FOLLOWED = (200, 1000)
"""The least and the most iterations in which a part or a neighbour is followed; between them, a quarter of those measured."""
LEAST_GROWTH = 2.0
"""The growth from halfway on from which a part repels. Powers of time, as at a neutral point, grow by ln 2 to 3 ln 2."""
BATCHES_OF_HALF = 10
ERRORS = 3
"""Standard errors by which the mean growth of a part must be positive."""
BESIDE = 1e-6
"""The distance of a neighbour of the orbit, relative to the state: near enough to be drawn to the same attractor."""
NEVER_VARIES = 1e-6
"""The largest difference between growths along an orbit on which the growth is constant."""
UNKNOWN = (
    "and the exponents, whose intervals are unknown, are not those of a typical orbit; start from another state, or add noise "
    "of the size of rounding in step"
)


def rest_warnings(
    step: Step, x: torch.Tensor, iteration: int, growth: np.ndarray, method: str, frame: torch.Tensor
) -> list[str]:
    """A warning if rounding holds an orbit, now in state x, where a typical one does not stay.

    There are three cases: the whole state returns on a cycle and its neighbours separate; some of its numbers return,
    and changes of these numbers grow; a positive exponent has the same growth at every iteration, but not along an orbit
    next to this one.

    Args:
        growth: [iteration, direction] that of the whole orbit.
        frame: [size, direction] its directions at x.
    """
    late = growth[-max(len(growth) // 4, 1) :]
    means, grows = late.mean(axis=0), late.mean(axis=0) > REPELS
    # A singular derivative removes a direction from a frame for good. In a small state, the numbers themselves are checked.
    is_partial = growth.shape[1] < x.numel() <= SMALL_STATE
    if not grows.any() and not is_partial:
        return []
    period, returns = _returns(step, x, iteration, max(LONGEST_REST, _period_in(growth[:, 0])))
    if period and grows[0]:
        where = "a fixed point" if period == 1 else f"a cycle of {period} states"
        return [_warning(f"the orbit rests on {where} that repels", means[0])]
    count = min(max(len(late), FOLLOWED[0]), FOLLOWED[1])
    part, mean = _growth_of_part(step, x, iteration, method, returns, count) if returns.any() else (0, 0.0)
    if part:
        of = f"a part of the state ({part} of {x.numel()} numbers)"
        return [_warning(f"{of} rests on a point or a cycle that repels", mean)]
    with np.errstate(invalid="ignore"):  # the growth of other directions may be −∞
        constant = np.where(grows & (np.ptp(late, axis=0) <= NEVER_VARIES), means, np.nan)
    if np.isnan(constant).all() or not _varies_beside(step, x, iteration, method, frame, constant, count):
        return []
    first = int(np.isfinite(constant).argmax())
    return [
        f"the growth of exponent {first + 1} is {means[first]:.4g} at every iteration, but varies "
        f"along an orbit that starts {BESIDE:.0e} beside this one: rounding holds the orbit where a typical one is not, {UNKNOWN}"
    ]


def repeats(growth: np.ndarray) -> bool:
    """Whether the growth [iteration, direction] of a direction ends in a cycle."""
    return any(_period_in(series) > 0 for series in growth.T)


def _warning(where: str, growth: float) -> str:
    return f"{where}, with a growth of {growth:.4g} per iteration: rounding holds it there, {UNKNOWN}"


def _returns(step: Step, x: torch.Tensor, iteration: int, longest: int) -> tuple[int, torch.Tensor]:
    """After how many iterations the whole state, and each of its numbers, is exactly what it is in x; 0 if it never is.

    The state is followed for `longest` iterations, numbers for LONGEST_REST.
    """
    state, returns = x, torch.zeros(x.numel(), dtype=torch.int64, device=x.device)
    for period in range(1, longest + 1):
        try:
            state = advance(step, state, iteration + period - 1)
        except Diverged:
            break
        same = (state == x).reshape(-1)
        if period <= LONGEST_REST:
            returns[same & (returns == 0)] = period
        if same.all():
            return period, returns
    return 0, returns


def _growth_of_part(
    step: Step, x: torch.Tensor, iteration: int, method: str, returns: torch.Tensor, count: int
) -> tuple[int, float]:
    """How many numbers of the state rest on what repels, and the mean growth per iteration there; 0 if none does.

    A small change of the numbers that rest is followed for `count` iterations, without the change of others that it causes. Changes
    of these do not act on numbers that rest. It grows on what repels; at a neutral point it grows no faster than powers
    of time, and where others drive it without a trend it stays within its statistical error.

    Args:
        returns: after how many iterations each number was the same again, or 0.
    """
    periods, resting, state, growth = returns.clamp(min=1), returns > 0, x, np.zeros(count)
    change = torch.randn(x.numel(), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for index in range(count):
        change = change * resting.cpu()[:, None]
        size = float(change.norm())
        if not size:
            return 0, 0.0
        growth[index] = np.log(size)
        y, change = METHODS[method](map_at(step, iteration + index), state, change / size)
        try:
            state = check_state(y, state, iteration + index)
        except Diverged:
            return 0, 0.0
        resting &= ((index + 1) % periods != 0) | (state == x).reshape(-1)
    half = growth[count // 2 :]
    mean, error = float(half.mean()), float(batch_error(half, batches=BATCHES_OF_HALF))
    repels = mean > ERRORS * error and half.sum() > LEAST_GROWTH
    return (int(resting.count_nonzero()), mean) if repels else (0, 0.0)


def _varies_beside(
    step: Step,
    x: torch.Tensor,
    iteration: int,
    method: str,
    frame: torch.Tensor,
    constant: np.ndarray,
    count: int,
) -> bool:
    """Whether growths that are constant along an orbit [direction] (NaN: others) vary along an orbit on either side of it."""
    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for side in (1, -1):
        state, directions = x + (side * BESIDE * root_mean_square(x) * drawn).to(x), frame
        for index in range(count):
            y, images = METHODS[method](map_at(step, iteration + index), state, directions)
            try:
                state = check_state(y, state, iteration + index)
            except Diverged:
                break
            directions, upper = torch.linalg.qr(images)
            with np.errstate(divide="ignore"):
                found = np.log(upper.diagonal().abs().numpy())
            if (np.abs(found - constant) > 10 * NEVER_VARIES).any():
                return True
    return False


def _period_in(growth: np.ndarray) -> int:
    """The smallest period with which the last values of a series repeat at least three times; 0 if they do not repeat."""
    for period in range(1, len(growth) // 3 + 1):
        tail = growth[-3 * period :]
        if abs(tail[-1] - tail[-1 - period]) <= SAME_GROWTH and np.allclose(
            tail[period:], tail[:-period], rtol=0, atol=SAME_GROWTH
        ):
            return period
    return 0
