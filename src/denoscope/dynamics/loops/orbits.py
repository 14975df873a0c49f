"""Orbits of a map that is iterated: their states, fixed points and cycles, and how they change with a parameter."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.maps import (
    Diverged,
    Step,
    advance,
    check_counts,
    first_state,
    map_at,
    probed,
    storable,
)
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.foundation import tensor_files
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint, with_room
from denoscope.foundation.errors import UserError
from denoscope.foundation.progress import Progress
from denoscope.foundation.validation import check_callable, describe, parse_integer, parse_real

if TYPE_CHECKING:
    import xarray

ROUNDING = 1e-12
"""Of the size of states: less than this is the rounding of float64."""
NEAR = 1000
"""Times the tolerance, within which settled states are one."""
ROUNDS = 3
"""How often a cycle must be seen to be one."""


def orbit(
    step: Step,
    x0: torch.Tensor,
    *,
    iterations: int,
    discard: int = 0,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> torch.Tensor:
    """The states [iterations, …] of an orbit: the first is x0 after `discard` iterations.

    Args:
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError naming the iteration after which a state is not finite, or if the checkpoint exists.
    """
    check_counts(iterations, discard)
    first = first_state(x0)
    checkpoint = parse_checkpoint(checkpoint)
    # Of an orbit that no file is asked for nothing has to be told from others.
    identity = {} if checkpoint.path is None else _identity(step, first, discard)
    fresh = _unvisited(first, iterations, identity)
    with checkpoint.open(fresh, sequential=True) as file:
        file.data = with_room(file.data, fresh, "state", along="iteration")
        states, done = torch.from_numpy(file.data["state"].values), file.data["done"].values
        state, begun = (states[done - 1].to(first), discard + int(done)) if done else (first, 0)
        for k in range(begun, discard + iterations):
            if k > 0:
                state = advance(step, state, k - 1)
            if k >= discard:
                states[k - discard] = state
                done[...] = k - discard + 1
                file.save()
            file.report(k + 1, discard + iterations)
    return states[:iterations].to(first)


def _identity(step: Step, first: torch.Tensor, discard: int) -> dict[str, Any]:
    """What tells an orbit from others."""
    return {
        "discard": discard,
        "x0": tensor_files.sha256(first),
        "the map there": probed(map_at(step, 0), first),
    }


def _unvisited(first: torch.Tensor, iterations: int, identity: dict[str, Any]) -> xarray.Dataset:
    """The states of an orbit, none of which is known yet."""
    import xarray

    states = torch.full((iterations, *first.shape), math.nan, dtype=storable(first).dtype)
    return xarray.Dataset(
        {"state": (("iteration", *_axes(first)), states.numpy()), "done": ((), np.array(0))},
        attrs={IDENTITY: identity},
    )


def _axes(state: torch.Tensor) -> tuple[str, ...]:
    """The dimensions of a state in a dataset."""
    return tuple(f"axis_{axis}" for axis in range(state.ndim))


def _part(progress: Progress | None, number: int, count: int) -> Checkpoint:
    """Reports the progress of one of `count` orbits as that of all."""
    return Checkpoint(
        progress=progress and (lambda done, every: progress(number * every + done, count * every))
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Periodicity(Result):
    """The shortest period an orbit has, or None, and the states [period, …] of the cycle.

    `returns` [longest] is, for each period p = 1, 2, …, the largest distance between states that are p iterations
    apart, over the size of the orbit.
    """

    period: int | None
    cycle: np.ndarray
    returns: np.ndarray


def periodicity(states: Any, *, longest: int = 64, tolerance: float = 1e-6) -> Periodicity:
    """The period of the end of an orbit [time, …]; 1 is a fixed point.

    p is the smallest of 1 … longest with max ‖x_{n+p} − x_n‖ ≤ tolerance · size, over the last 3·longest states;
    size is the largest norm of all states given (1 where they are all zero), L2 throughout: of an orbit that shrinks to
    zero, give the beginning too.
    None means that the orbit has no period as short as that: it may be quasiperiodic, chaotic or still on its way.
    A slow drift of less than the tolerance an iteration reads as a fixed point, and is warned of.

    Raises: UserError if there are fewer than 3·longest states.
    """
    points = parse_numbers(states, "states")
    window = ROUNDS * parse_integer(longest, "longest", minimum=1)
    parse_real(tolerance, "tolerance", minimum=0)
    if points.ndim == 0 or len(points) < window:
        raise UserError(
            f"states of shape {list(points.shape)} cannot show periods up to longest={longest}:"
            f" {max(window, ROUNDS)} states are needed; iterate on or lower longest to {len(np.atleast_1d(points)) // ROUNDS}"
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
        warnings=(*_drift(tail, period, tolerance * size), *_unseen(tail, period, size)) if period else (),
    )


def _unseen(tail: np.ndarray, period: int, size: float) -> tuple[str, ...]:
    """A warning if what moves below the tolerance does not return: it may be rounding, or dynamics on a large offset."""
    left = np.linalg.norm(tail[period:] - tail[:-period], axis=1).max()
    spread = np.linalg.norm(tail - tail.mean(axis=0), axis=1).max()
    if left <= ROUNDING * size or left <= spread / 10:
        return ()
    return (
        f"below the tolerance states still differ, by {left / size:.0e} of their size, and do not return: rounding, or an "
        "orbit on a large offset; take its mean off and look again",
    )


def _drift(tail: np.ndarray, period: int, allowed: float) -> tuple[str, ...]:
    """A warning if the cycle moves over the window by more than one return may be off."""
    start = len(tail) % period
    moved = np.linalg.norm(tail[-period:] - tail[start : start + period], axis=1).max()
    if moved <= allowed:
        return ()
    return (
        f"the cycle still moves: {moved:.3g} over {len(tail)} iterations, more than one return may be off;"
        " take a longer discard or a smaller tolerance",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoints(Result):
    """The points [found, …] that orbits settle on, and which one [start] each start reached; −1 for none."""

    points: np.ndarray
    reached: np.ndarray


def fixed_points(
    step: Step,
    starts: torch.Tensor,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-6,
    progress: Progress | None = None,
) -> FixedPoints:
    """The attracting fixed points that orbits from several starts [start, …] settle on.

    A start is settled after `iterations` if one more moves its state by no more than tolerance · (its norm or that of the
    start, whichever is larger; 1 if both are zero), L2. Settled states closer to each other than 1000 times that are one
    point; a warning says where, by the pace of the last moves, they are further than that from where they would settle.
    Repelling fixed points and saddles are not found, and neither is an attractor that no start leads to.

    Args:
        progress: is told (states done of all orbits, all of them).

    Raises: UserError if an orbit diverges, naming the iteration.
    """
    parse_integer(iterations, "iterations", minimum=1)
    parse_real(tolerance, "tolerance", minimum=0)
    if not isinstance(starts, torch.Tensor) or starts.ndim < 1 or not len(starts):
        raise UserError("starts must be a tensor [start, …] of at least one state")
    ends = [
        orbit(step, start, iterations=3, discard=iterations - 1, checkpoint=_part(progress, row, len(starts)))
        for row, start in enumerate(starts)
    ]
    earliest, before, after = (
        parse_numbers(torch.stack([end[k] for end in ends]), "states") for k in range(3)
    )
    begun = parse_numbers(starts, "starts")
    found: list[np.ndarray] = []
    reached, on_the_way = np.full(len(starts), -1), 0
    for k, later in enumerate(after):
        size = float(max(np.linalg.norm(begun[k]), np.linalg.norm(later))) or 1.0
        near, rounding = NEAR * tolerance * size, 10 * torch.finfo(starts.dtype).eps * size
        former, move = (float(np.linalg.norm(one)) for one in (before[k] - earliest[k], later - before[k]))
        if move <= tolerance * size:
            reached[k] = _place(later, found, near)
            # As a geometric series goes on; moves that are rounding do not.
            on_the_way += move > rounding and move**2 > near * max(former - move, 0.0)
    missed = np.count_nonzero(reached < 0)
    warnings = [f"{missed} of {len(starts)} starts did not settle on a fixed point"] if missed else []
    if on_the_way:
        warnings.append(
            f"{on_the_way} of {len(starts)} starts still move, slowly: what they are told to have reached may be far from where "
            "they settle, if they do; take more iterations or a smaller tolerance"
        )
    return FixedPoints(
        points=np.array(found) if found else after[:0],
        reached=reached,
        origin={"starts": len(starts), "iterations": iterations, "tolerance": tolerance},
        warnings=tuple(warnings),
    )


def _place(state: np.ndarray, found: list[np.ndarray], near: float) -> int:
    """The number of the point that a settled state is, which is a new one if none is near."""
    for number, point in enumerate(found):
        if np.linalg.norm(state - point) <= near:
            return number
    found.append(state)
    return len(found) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class OrbitDiagram(Result):
    """What an observable takes on along the orbit at each parameter: values [parameter, iteration].

    The row of a parameter whose orbit diverged is NaN, and told in `warnings`.
    """

    parameters: np.ndarray
    values: np.ndarray


def _mean(state: torch.Tensor) -> float:
    return float(state.double().mean())


def _observed(observable: Callable[[torch.Tensor], float], state: torch.Tensor) -> float:
    """What the observable takes on at a state, which must be one finite number."""
    found = observable(state)
    try:
        number = float(found)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"observable turned a state into {describe(found)}; needed is one finite number")
    return number


def orbit_diagram(
    step_of: Callable[[float], Step],
    parameters: Sequence[float],
    x0: torch.Tensor,
    *,
    observable: Callable[[torch.Tensor], float] = _mean,
    iterations: int = 100,
    discard: int = 500,
    follow: bool = False,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> OrbitDiagram:
    """The values an observable takes on along the orbit of `step_of(parameter)`, for each parameter.

    One value: a fixed point; a few: a cycle; a band: quasiperiodic or chaotic (the exponent tells which). The
    observable is the mean of the state if no other is given. With `follow`, each parameter starts from the last state
    of the one before that did not diverge instead of x0, which keeps to one attractor and shows hysteresis when the order
    is reversed. Slow transients near a bifurcation look like bands: raise `discard`.

    Args:
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if step_of gives no map, observable no number, or the checkpoint exists.
    Source: May, Nature 261, 459 (1976).
    """
    given = parse_numbers(parameters, "parameters")
    if given.ndim != 1 or not given.size:
        raise UserError(f"parameters has shape {list(given.shape)}; a list of at least one is needed")
    check_counts(iterations, discard)
    check_callable(step_of, "step_of", "a parameter to the map that it has")
    check_callable(observable, "observable", "a state to a number")
    settings = {"iterations": iterations, "discard": discard, "follow": follow}
    first = first_state(x0)
    checkpoint = parse_checkpoint(checkpoint)
    identity = (
        {} if checkpoint.path is None else _diagram_identity(step_of, given, first, observable, settings)
    )
    fresh = _unobserved(given, iterations, first, identity)
    with checkpoint.open(fresh, sequential=follow) as file:
        values, last, diverged_after, computed = (
            file.data[name].values for name in ("values", "last", "diverged_after", "computed")
        )
        for row in np.flatnonzero(~computed):
            start = torch.from_numpy(last).to(first) if follow else first
            part = _part(checkpoint.progress, int(row), len(given))
            step = step_of(given[row].item())
            try:
                states = orbit(step, start, iterations=iterations, discard=discard, checkpoint=part)
                values[row] = [_observed(observable, state) for state in states]
                last[...] = storable(states[-1]).numpy()
            except Diverged as error:
                diverged_after[row] = error.iterations
            computed[row] = True
            file.save()
    lost = np.flatnonzero(diverged_after >= 0)
    return OrbitDiagram(
        parameters=given,
        values=values,
        origin=settings,
        warnings=tuple(f"parameter {given[row]:g}: {Diverged(int(diverged_after[row]))}" for row in lost),
    )


def _diagram_identity(
    step_of: Callable[[float], Step],
    parameters: np.ndarray,
    first: torch.Tensor,
    observable: Callable[[torch.Tensor], float],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What tells a diagram from others."""
    return {
        "parameters": parameters.tolist(),
        "x0": tensor_files.sha256(first),
        "observable": probed(observable, first),
        "the maps there": [probed(map_at(step_of(value), 0), first) for value in parameters.tolist()],
        **settings,
    }


def _unobserved(
    parameters: np.ndarray, iterations: int, first: torch.Tensor, identity: dict[str, Any]
) -> xarray.Dataset:
    """The diagram in which nothing is observed; `last` is the state that a parameter which follows starts from."""
    import xarray

    state = storable(first).numpy()
    return xarray.Dataset(
        {
            "values": (("parameter", "iteration"), np.full((len(parameters), iterations), np.nan)),
            "last": (_axes(first), state.copy()),
            "diverged_after": ("parameter", np.full(len(parameters), -1)),
            "computed": ("parameter", np.zeros(len(parameters), bool)),
        },
        coords={"parameter": parameters},
        attrs={IDENTITY: identity},
    )
