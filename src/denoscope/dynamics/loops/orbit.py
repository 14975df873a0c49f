"""Orbits: the states of a map that is iterated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.dynamics.loops.iterated_map import (
    Step,
    advance,
    check_counts,
    check_step,
    map_at,
    parse_first_state,
    probe,
    storable,
)
from denoscope.foundation import memory, tensor_files
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.progress import Progress
from denoscope.foundation.spelling import spelled
from denoscope.foundation.work import with_room

if TYPE_CHECKING:
    import xarray


@calls_checked
def orbit(
    step: Step,
    x0: Any,
    *,
    iterations: int,
    discard: int = 0,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> torch.Tensor:
    """The states [iterations, …] of an orbit; the first is x0 after `discard` iterations.

    Args:
        step: a function from a state to the next, or an object whose method `at(iteration)` returns one.
        x0: a floating-point array of any shape.
        checkpoint: a file (.npz) for the states after the transient, or a `Checkpoint`, which reports the progress of the
            transient too. A finished file can be resumed with more iterations.

    Raises: UserError if a state is not finite (naming the iteration), or the checkpoint does not fit.
    """
    check_counts(iterations, discard)
    check_step(step)
    first, checkpoint = parse_first_state(x0), parse_checkpoint(checkpoint)
    # Only a file needs an identity.
    identity = {} if checkpoint.path is None else _identity(step, first, discard)
    fresh, total = _initial_states(first, iterations, identity), discard + iterations
    with checkpoint.open(fresh, sequential=True) as work:
        work.data = with_room(work.data, fresh, "state", along="iteration")
        stored, done = torch.from_numpy(work.data["state"].values), work.data["done"].values
        known = discard + int(done)
        begun, start = (known - 1, stored[done - 1].to(first)) if done else (0, first)
        for index, state in states_from(step, begun, start, end=total):
            if index >= known:
                stored[index - discard] = state
                done[...] = index - discard + 1
                work.save()
            work.report(index + 1, total)
    return stored[:iterations].to(first)


def states_from(
    step: Step, index: int, state: torch.Tensor, *, end: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """The states of an orbit with their indices, from a state with a known index to the last index before `end`."""
    while index < end:
        yield index, state
        index += 1
        if index < end:
            state = advance(step, state, index - 1)


def unsaved_checkpoint(progress: Progress | None, number: int, count: int) -> Checkpoint:
    """A checkpoint without a file; it reports the progress of orbit `number` as a part of that of all `count`."""
    if progress is None:
        return Checkpoint()
    return Checkpoint(progress=lambda done, total: progress(number * total + done, count * total))


def state_axes(state: torch.Tensor) -> tuple[str, ...]:
    """The names of the dimensions of a state in a dataset."""
    return tuple(f"axis_{axis}" for axis in range(state.ndim))


def _identity(step: Step, first: torch.Tensor, discard: int) -> dict[str, Any]:
    """What identifies an orbit."""
    return {
        "discard": discard,
        "x0": tensor_files.sha256(first),
        "the map there": probe(map_at(step, 0), first),
    }


def _initial_states(first: torch.Tensor, iterations: int, identity: dict[str, Any]) -> xarray.Dataset:
    """The unknown states of an orbit."""
    import xarray

    dtype = storable(first).dtype
    memory.check_fits(iterations * first.numel() * dtype.itemsize, spelled("iterations", iterations))
    states = torch.full((iterations, *first.shape), math.nan, dtype=dtype)
    return xarray.Dataset(
        {"state": (("iteration", *state_axes(first)), states.numpy()), "done": ((), np.array(0))},
        attrs={IDENTITY: identity},
    )
