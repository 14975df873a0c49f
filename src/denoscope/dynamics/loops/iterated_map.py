"""Maps from states to states that are iterated: one map for all iterations, or one per iteration, driven by noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from denoscope.dynamics.sensitivity.central_differences import root_mean_square
from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import check_call, describe, parse_integer
from denoscope.noise.coercion import as_floats

Map = Callable[[torch.Tensor], torch.Tensor]
"""A function from a state to the next state of the same shape, which gives equal results for equal states."""


class DrivenMap(Protocol):
    """A map driven by noise: a different map at every iteration, the same for all states at that iteration."""

    def at(self, iteration: int) -> Map:
        """The map of an iteration, counted from 0 at x0."""


@runtime_checkable
class HasOrigin(Protocol):
    """A map that describes what it was made from, which results then include."""

    @property
    def origin(self) -> Mapping[str, Any]: ...


Step = Map | DrivenMap
PROBES = (0.0, 0.01, 1.0)
"""Distances from a state, relative to its size, at which functions are evaluated to distinguish them."""


class Diverged(UserError):
    """An orbit with a state that is not finite, after a number of iterations."""

    def __init__(self, iterations: int):
        self.iterations = iterations
        super().__init__(
            f"the orbit diverged: its state is not finite after iteration {iterations}; start from another state, or use a "
            "bounded map"
        )


def check_step(step: Step) -> None:
    """Refuse a function that does not take one state; other steps are checked when a map of theirs is needed."""
    if callable(step) and not hasattr(step, "at"):
        check_call(step, ("state",), "step")


def map_at(step: Step, iteration: int) -> Map:
    """The map that turns state `iteration` into the next, and leaves that state as it is."""
    # Not isinstance, which inspects the protocol at every iteration.
    at = getattr(step, "at", None)
    function = step if at is None else at(iteration)
    if not callable(function):
        raise UserError(
            f"step is {describe(step)}; allowed: a function from a state to the next, or an object with a method "
            "at(iteration) that returns one"
        )
    # A clone, since a map may work in place.
    return lambda state: function(state.clone())


def probe(function: Callable[[torch.Tensor], Any], state: torch.Tensor) -> list[str]:
    """Hashes of a function's values at a state and around it, since different functions may agree at one state."""
    return [_hash_of_value(function, near) for near in around(state, PROBES)]


def around(state: torch.Tensor, distances: Sequence[float]) -> list[torch.Tensor]:
    """States at distances from a state, relative to its size, along a fixed direction."""
    drawn = torch.randn(state.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [state + (distance * root_mean_square(state) * drawn).to(state) for distance in distances]


@torch.no_grad()
def _hash_of_value(function: Callable[[torch.Tensor], Any], state: torch.Tensor) -> str:
    try:
        # A clone, since an observable may work in place.
        return tensor_files.sha256(storable(torch.as_tensor(function(state.clone()))))
    except Exception:  # whatever a user's function raises outside of its domain
        return "undefined"


def storable(state: torch.Tensor) -> torch.Tensor:
    """The state on the CPU in a dtype of NumPy: bfloat16 becomes float32, which contains it."""
    return (state.float() if state.dtype == torch.bfloat16 else state).cpu()


def parse_first_state(x0: Any) -> torch.Tensor:
    """A copy of the first state of an orbit, from a floating-point array of any library and of any shape."""
    x0 = as_floats(x0, "x0", "a PyTorch, NumPy or xarray array")
    if not x0.numel() or not x0.isfinite().all():
        raise UserError(f"x0 of shape {list(x0.shape)} is empty or holds NaN or Inf; allowed: finite numbers")
    return x0.detach().clone()


def check_state(state: torch.Tensor, like: torch.Tensor, iteration: int) -> torch.Tensor:
    """The state after an iteration, if the map can be applied to it again."""
    before = f"{like.dtype} {list(like.shape)}"
    if not isinstance(state, torch.Tensor):
        raise UserError(f"step turned a tensor {before} into {describe(state)}; allowed: {before} again")
    if state.shape != like.shape or state.dtype != like.dtype:
        raise UserError(
            f"step turned a tensor {before} into {state.dtype} {list(state.shape)}; allowed: {before} again"
        )
    if not state.isfinite().all():
        raise Diverged(iteration + 1)
    return state


@torch.no_grad()
def advance(step: Step, state: torch.Tensor, iteration: int) -> torch.Tensor:
    """The state after one iteration."""
    return check_state(map_at(step, iteration)(state), state, iteration).detach()


def check_counts(iterations: int, discard: int, *, minimum: int = 1) -> None:
    """Refuse numbers of iterations that are out of range."""
    parse_integer(iterations, "iterations", minimum=minimum)
    parse_integer(discard, "discard")
