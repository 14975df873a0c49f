"""Maps of states to states that are iterated: the same at every iteration, or driven by noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_integer
from denoscope.noise.coercion import as_floats

Map = Callable[[torch.Tensor], torch.Tensor]
"""A state to the next one, of the same shape; the same answer whenever it is asked for the same state."""


class DrivenMap(Protocol):
    """A map that noise drives: another one at every iteration, but the same for all states at that iteration."""

    def at(self, iteration: int) -> Map:
        """The map of an iteration, counted from 0 at x0."""


Step = Map | DrivenMap
PROBES = (0.0, 0.01, 1.0)
"""How far from a state, in its size (1 where it is zero), functions of states are looked at to tell one from another."""


class Diverged(UserError):
    """An orbit whose state is not finite after so many iterations."""

    def __init__(self, iterations: int):
        self.iterations = iterations
        super().__init__(
            f"the orbit diverged: its state is not finite after iteration {iterations};"
            " start elsewhere or keep the map bounded"
        )


def map_at(step: Step, iteration: int) -> Map:
    """The map that turns state `iteration` into the next."""
    found = step.at(iteration) if hasattr(step, "at") else step
    if not callable(found):
        raise UserError(
            f"step is {describe(step)}; needed is a function of a state to the next one, or an object whose at(iteration) "
            "gives it"
        )
    return found


def probed(function: Callable[[torch.Tensor], Any], state: torch.Tensor) -> list[str]:
    """What a function makes of a state and of others around it, as hashes: two functions agree in one state easily."""
    return [_told(function, one) for one in around(state, PROBES)]


def around(state: torch.Tensor, distances: Sequence[float]) -> list[torch.Tensor]:
    """States at some distances from one, in its size, along a direction that is always the same."""
    drawn = torch.randn(state.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [state + (distance * size_of(state) * drawn).to(state) for distance in distances]


def size_of(state: torch.Tensor) -> float:
    """The root mean square of a state; 1 where it is zero."""
    return float(state.double().square().mean().sqrt()) or 1.0


@torch.no_grad()
def _told(function: Callable[[torch.Tensor], Any], state: torch.Tensor) -> str:
    try:
        # Of a copy, for a map may work in place.
        return tensor_files.sha256(storable(torch.as_tensor(function(state.clone()))))
    except Exception:  # whatever a user's function raises where it is not defined
        return "undefined"


def storable(state: torch.Tensor) -> torch.Tensor:
    """The state as NumPy can have it: on the CPU, and not in bfloat16, all of whose numbers float32 has."""
    return (state.float() if state.dtype == torch.bfloat16 else state).cpu()


def first_state(x0: torch.Tensor | ArrayLike) -> torch.Tensor:
    """A copy of x0 to start from, as a tensor."""
    x0 = as_floats(x0, "x0", "a PyTorch, NumPy or xarray array")
    if not x0.numel() or not x0.isfinite().all():
        raise UserError(f"x0 of shape {list(x0.shape)} is empty or not finite; start from finite numbers")
    return x0.detach().clone()


def check_state(state: torch.Tensor, like: torch.Tensor, iteration: int) -> torch.Tensor:
    """The state as it came out of an iteration, which must be one that the map can be given again."""
    if not isinstance(state, torch.Tensor):
        raise UserError(
            f"step turned a tensor {list(like.shape)} into {describe(state)}; a map that is iterated gives such a tensor again"
        )
    if state.shape != like.shape or state.dtype != like.dtype:
        raise UserError(
            f"step turned {like.dtype} {list(like.shape)} into {state.dtype} {list(state.shape)};"
            " a map that is iterated keeps shape and dtype"
        )
    if not state.isfinite().all():
        raise Diverged(iteration + 1)
    return state


@torch.no_grad()
def advance(step: Step, state: torch.Tensor, iteration: int) -> torch.Tensor:
    """The state after one iteration."""
    return check_state(map_at(step, iteration)(state), state, iteration).detach()


def check_counts(iterations: int, discard: int, *, least: int = 1) -> None:
    """Refuse counts of iterations that measure nothing."""
    parse_integer(iterations, "iterations", minimum=least)
    parse_integer(discard, "discard")


def checked_count(k: int, size: int) -> int:
    """How many exponents are asked for, refused where a state has not so many numbers."""
    return parse_integer(k, "k", minimum=1, maximum=size, note="the numbers in one state")
