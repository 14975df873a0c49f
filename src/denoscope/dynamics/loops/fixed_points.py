"""The attracting fixed points of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.dynamics.loops.iterated_map import Diverged, Step
from denoscope.dynamics.loops.orbit import orbit, unsaved_checkpoint
from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.central_differences import separation
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.progress import Progress
from denoscope.foundation.validation import parse_integer, parse_real
from denoscope.noise.coercion import as_floats

STARTS = "an array [start, …] of at least one state"
SAME_POINT = 1000
"""Settled states within this many tolerances of each other are one fixed point."""
DEPARTED = 10
"""An orbit has departed from a fixed point once their distance has grown by this factor."""
RESOLVED = 100
"""A distance of this many rounding errors from a fixed point is more than rounding."""
SAME_DISTANCE = 1e-6
"""The relative growth of a distance that may be rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPoints(Result):
    """Attracting fixed points.

    Attributes:
        points: [point, …].
        reached: [start] the index of the point that each orbit reached; −1 if it reached none that attracts.
    """

    points: np.ndarray
    reached: np.ndarray


@arguments_checked
def fixed_points(
    step: Step,
    starts: Any,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-6,
    progress: Progress | None = None,
) -> FixedPoints:
    """The attracting fixed points to which orbits from several starts [start, …] settle.

    An orbit has settled if, after `iterations`, one more iteration moves its state by at most tolerance · size, in L2; the
    size is the norm of the state or of its start, whichever is larger (1 if both are zero). Settled states within 1000
    times that distance are one point.

    An orbit that starts exactly on a repelling fixed point or on the stable set of a saddle, as those of a symmetric
    grid do, may rest there. Such points are left out, with a warning. A point is repelling if an orbit that starts
    next to it, in a random direction, is ten times as far away after as many iterations, or further away than after
    half of them.

    Caveats: attractors that no start leads to are not found. A warning says if states move so slowly that, at the pace of
    the last moves, their limit is further away than that distance.

    Args:
        starts: an array of any library.
        progress: called with (finished states of all orbits, all states).

    Raises: UserError if an orbit diverges (naming the iteration), or an argument is out of range.
    """
    parse_integer(iterations, "iterations", minimum=1)
    parse_real(tolerance, "tolerance", minimum=0)
    starts = as_floats(starts, "starts", STARTS)
    if starts.ndim < 1 or not len(starts):
        raise UserError(f"starts has shape {list(starts.shape)}; allowed: {STARTS}")
    ends = np.stack(
        [
            _last_states(step, start, iterations, unsaved_checkpoint(progress, row, len(starts)))
            for row, start in enumerate(starts)
        ]
    )
    points, reached, slow = _settled(parse_numbers(starts, "starts"), ends, tolerance, starts.dtype)
    repelling = [_repels(step, torch.as_tensor(point).to(starts), iterations) for point in points]
    attracting = np.flatnonzero(~np.array(repelling, bool))
    repelled = int(np.isin(reached, np.flatnonzero(repelling)).sum())
    renumbered = np.full(len(points) + 1, -1)  # the last entry is that of −1
    renumbered[attracting] = np.arange(len(attracting))
    return FixedPoints(
        points=np.array(points)[attracting] if len(attracting) else ends[:0, -1],
        reached=renumbered[reached],
        origin={"starts": len(starts), "iterations": iterations, "tolerance": tolerance},
        warnings=tuple(_settling_warnings(reached, slow, repelled)),
    )


def _repels(step: Step, point: torch.Tensor, iterations: int) -> bool:
    """Whether an orbit that starts next to a fixed point departs from the orbit that starts on it."""
    first = separation(point)
    starts = (point, point + first * _random_direction(point))
    try:
        halfway = [orbit(step, start, iterations=1, discard=iterations // 2)[0] for start in starts]
        ends = [orbit(step, state, iterations=1, discard=iterations // 2)[0] for state in halfway]
    except Diverged:
        return True
    half, end = (float((beside - on).double().norm()) for on, beside in (halfway, ends))
    resolved = RESOLVED * torch.finfo(point.dtype).eps * float(point.double().norm())
    return end > DEPARTED * first or (end > half * (1 + SAME_DISTANCE) and half > resolved)


def _random_direction(point: torch.Tensor) -> torch.Tensor:
    drawn = torch.randn(point.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (drawn / drawn.norm()).to(point)


def _last_states(step: Step, start: torch.Tensor, iterations: int, checkpoint: Checkpoint) -> np.ndarray:
    """The last three states [3, …] of an orbit of this many iterations."""
    states = orbit(step, start, iterations=3, discard=iterations - 1, checkpoint=checkpoint)
    return parse_numbers(states, "states")


def _settled(
    starts: np.ndarray, ends: np.ndarray, tolerance: float, dtype: torch.dtype
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """The fixed points, which one each orbit reached [start], and the number of orbits that still move slowly."""
    points: list[np.ndarray] = []
    reached, slow = np.full(len(starts), -1), 0
    for row, (earliest, before, after) in enumerate(ends):
        size = float(max(np.linalg.norm(starts[row]), np.linalg.norm(after))) or 1.0
        near, rounding = SAME_POINT * tolerance * size, 10 * torch.finfo(dtype).eps * size
        former, move = (float(np.linalg.norm(change)) for change in (before - earliest, after - before))
        if move <= tolerance * size:
            reached[row] = _index_of(after, points, near)
            # The moves continue as a geometric series, unless they are rounding errors.
            slow += move > rounding and move**2 > near * max(former - move, 0.0)
    return points, reached, slow


def _index_of(state: np.ndarray, points: list[np.ndarray], near: float) -> int:
    """The index of the fixed point at a settled state, which is appended to `points` if none is near."""
    for index, point in enumerate(points):
        if np.linalg.norm(state - point) <= near:
            return index
    points.append(state)
    return len(points) - 1


def _settling_warnings(reached: np.ndarray, slow: int, repelled: int) -> list[str]:
    missed = np.count_nonzero(reached < 0)
    warnings = [f"{missed} of {len(reached)} starts did not settle on a fixed point"] if missed else []
    if repelled:
        warnings.append(
            f"{repelled} of {len(reached)} starts rest on points that repel, which are left out: orbits next to them leave; "
            "choose starts off the symmetries of the map"
        )
    if slow:
        warnings.append(
            f"{slow} of {len(reached)} starts still move slowly: the points they reached may be far from their limits; use "
            "more iterations or a smaller tolerance"
        )
    return warnings
