"""Orbit (bifurcation) diagrams: the values of an observable along orbits, by parameter."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from denoscope.dynamics.loops.iterated_map import (
    Diverged,
    Step,
    check_counts,
    map_at,
    parse_first_state,
    probe,
    storable,
)
from denoscope.dynamics.loops.orbit import orbit, state_axes, unsaved_checkpoint
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.foundation import memory, tensor_files
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.progress import Progress
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_callable, describe

if TYPE_CHECKING:
    import xarray

Observable = Callable[[torch.Tensor], float]


@dataclass(frozen=True, kw_only=True, eq=False)
class OrbitDiagram(Result):
    """The values of an observable along the orbit at each parameter.

    Attributes:
        parameters: [parameter].
        values: [parameter, iteration]; NaN, with a warning, where the orbit diverged.
    """

    pictured: ClassVar[str] = "values"
    rows: ClassVar[Mapping[str, str]] = {"parameters": "parameters", "values": "parameters"}
    parameters: np.ndarray
    values: np.ndarray


def _mean(state: torch.Tensor) -> float:
    return float(state.double().mean())


@arguments_checked
def orbit_diagram(
    step_of: Callable[[float], Step],
    parameters: Sequence[float],
    x0: Any,
    *,
    observable: Observable = _mean,
    iterations: int = 100,
    discard: int = 500,
    follow: bool = False,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> OrbitDiagram:
    """The values of an observable along the orbit of `step_of(parameter)`, for each parameter.

    Interpretation: a single value is a fixed point, a few are a cycle, and a band is quasiperiodic or chaotic; `lyapunov`
    distinguishes these.

    Caveats: slow transients near a bifurcation look like bands; increase `discard`.

    Args:
        x0: the first state of every orbit.
        observable: a function from a state to a number; by default the mean.
        follow: start each parameter from the last state of the parameter before it that did not diverge, instead of x0.
            The orbits then stay on one attractor, and show hysteresis if the order of the parameters is reversed.
        checkpoint: a file (.npz) for the values of the finished parameters, or a `Checkpoint`.

    Raises: UserError if step_of returns no map, observable no number, an argument is out of range, or the checkpoint does
        not fit.
    Source: May, Nature 261, 459 (1976).
    """
    parameter_values = parse_numbers(parameters, "parameters")
    if parameter_values.ndim != 1 or not parameter_values.size:
        raise UserError(
            f"parameters has shape {list(parameter_values.shape)}; allowed: a list of at least one number"
        )
    check_counts(iterations, discard)
    check_callable(step_of, "step_of", ("a parameter",), "its map")
    check_callable(observable, "observable", ("a state",), "a number")
    settings = {"iterations": iterations, "discard": discard, "follow": follow}
    first, checkpoint = parse_first_state(x0), parse_checkpoint(checkpoint)
    identity = (
        {} if checkpoint.path is None else _identity(step_of, parameter_values, first, observable, settings)
    )
    with checkpoint.open(
        _initial_diagram(parameter_values, iterations, first, identity), sequential=follow
    ) as work:
        for _ in observe_orbits(
            step_of,
            first,
            work.data,
            observable,
            discard=discard,
            follow=follow,
            progress=checkpoint.progress,
        ):
            work.save()
    diverged_after = work.data["diverged_after"].to_numpy()
    return OrbitDiagram(
        parameters=parameter_values,
        values=work.data["values"].to_numpy(),
        origin=settings,
        warnings=tuple(
            f"parameter {parameter_values[row]:g}: {Diverged(int(diverged_after[row]))}"
            for row in np.flatnonzero(diverged_after >= 0)
        ),
    )


def observe_orbits(
    step_of: Callable[[float], Step],
    first: torch.Tensor,
    data: xarray.Dataset,
    observable: Observable,
    *,
    discard: int,
    follow: bool,
    progress: Progress | None = None,
) -> Iterator[int]:
    """Fill in the remaining rows of the diagram in `data`, in place, and yield the number of finished ones.

    Args:
        progress: called with (finished states of all orbits, all states).
    """
    values, last, diverged_after, computed = (
        data[name].values for name in ("values", "last", "diverged_after", "computed")
    )
    for row in map(int, np.flatnonzero(~computed)):
        start = torch.from_numpy(last).to(first) if follow else first
        step, part = (
            step_of(data["parameter"].values[row].item()),
            unsaved_checkpoint(progress, row, len(computed)),
        )
        try:
            states = orbit(step, start, iterations=values.shape[1], discard=discard, checkpoint=part)
            values[row] = [_observe(observable, state) for state in states]
            last[...] = storable(states[-1]).numpy()
        except Diverged as error:
            diverged_after[row] = error.iterations
        computed[row] = True
        yield int(computed.sum())


def _observe(observable: Observable, state: torch.Tensor) -> float:
    """The value of the observable at a state, if it is a finite number."""
    value = observable(state.clone())  # the observable may work in place
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"observable turned a state into {describe(value)}; allowed: one finite number")
    return number


def _identity(
    step_of: Callable[[float], Step],
    parameters: np.ndarray,
    first: torch.Tensor,
    observable: Observable,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What identifies a diagram."""
    return {
        "parameters": parameters.tolist(),
        "x0": tensor_files.sha256(first),
        "observable": probe(observable, first),
        "the maps there": [probe(map_at(step_of(value), 0), first) for value in parameters.tolist()],
        **settings,
    }


def _initial_diagram(
    parameters: np.ndarray, iterations: int, first: torch.Tensor, identity: dict[str, Any]
) -> xarray.Dataset:
    """The diagram without values; `last` is the state from which the next parameter starts if it follows."""
    import xarray

    state = storable(first).numpy()
    memory.check_fits(8 * len(parameters) * iterations, spelled("iterations", iterations))
    return xarray.Dataset(
        {
            "values": (("parameter", "iteration"), np.full((len(parameters), iterations), np.nan)),
            "last": (state_axes(first), state.copy()),
            "diverged_after": ("parameter", np.full(len(parameters), -1)),
            "computed": ("parameter", np.zeros(len(parameters), bool)),
        },
        coords={"parameter": parameters},
        attrs={IDENTITY: identity},
    )
