"""The derivative of an iterated map along directions: by automatic differentiation, or by central differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from denoscope.dynamics.loops.iterated_map import Map, around
from denoscope.dynamics.sensitivity.central_differences import separation
from denoscope.dynamics.sensitivity.forward_mode import prepare_forward_mode
from denoscope.foundation.errors import UserError, first_line

Derivative = Callable[[Map, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""A function of (map, state, directions [n, k] in float64) to (next state, images of the directions [n, k] in float64)."""

SMALL_STATE = 16
"""The largest state whose whole Jacobian takes less time than two directions by forward mode."""

COMPARED_AT = (0.0, 0.01, -0.01)
"""Distances from a state, relative to its size, at which derivatives are compared."""

TOLERANCE = 0.05
"""The largest relative difference between an exact derivative and a central difference."""


def by_jacobian(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by the whole Jacobian, one row at a time in reverse mode."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        y = step(x)
        numbers = y.reshape(-1)
        rows = [torch.autograd.grad(number, x, retain_graph=True)[0].reshape(-1) for number in numbers]
    return y.detach(), torch.stack(rows).to("cpu", torch.float64) @ directions


@torch.no_grad()
def by_jvp(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by one pass of `torch.func.jvp` each."""
    prepare_forward_mode()
    passes = [torch.func.jvp(step, (x,), (_shaped(u, x),)) for u in directions.T]
    images = torch.stack([values[1].reshape(-1) for values in passes], dim=1)
    return passes[0][0], images.to("cpu", torch.float64)


@torch.no_grad()
def by_differences(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by (step(x + hu) − step(x − hu))/2h, with the h of `separation`."""
    h = separation(x)
    ends = [(step(x + _shaped(h * u, x)), step(x - _shaped(h * u, x))) for u in directions.T]
    images = torch.stack([(above.double() - below.double()).reshape(-1) for above, below in ends], dim=1)
    return step(x), images.cpu() / (2 * h)


BY_DIFFERENCES = "central differences"
METHODS: dict[str, Derivative] = {
    "whole Jacobian by reverse mode": by_jacobian,
    "torch.func.jvp": by_jvp,
    BY_DIFFERENCES: by_differences,
}


def choose_method(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[str, list[str]]:
    """The name of the first method that works for a map, and a warning for each exact method that does not.

    A method works if it raises no error and agrees with central differences: if a map detaches its state or leaves
    gradient mode, automatic differentiation returns zeros without an error. They are compared near x too, because the map
    may jump at x, where central differences are wrong.
    """
    warnings = []
    for name in list(METHODS)[x.numel() > SMALL_STATE : -1]:
        try:
            agree = any(_agree(METHODS[name], step, state, directions) for state in around(x, COMPARED_AT))
        except UserError:
            raise
        except (RuntimeError, NotImplementedError, TypeError) as error:
            warnings.append(f"step has no derivative by {name}: {first_line(error)}")
            continue
        if agree:
            return name, warnings
        warnings.append(
            f"the derivative of step by {name} disagrees with central differences: step detaches its state or is not smooth"
        )
    return BY_DIFFERENCES, [
        *warnings,
        f"derivatives are central differences with separation {separation(x):.1g}, correct to a few digits only, and wrong "
        "where step jumps",
    ]


@torch.no_grad()
def _agree(method: Derivative, step: Map, x: torch.Tensor, directions: torch.Tensor) -> bool:
    """Whether a method agrees with central differences, up to rounding."""
    images, expected = method(step, x, directions)[1], by_differences(step, x, directions)[1]
    rounding = torch.finfo(x.dtype).eps * float(step(x).double().norm()) / separation(x)
    allowed = TOLERANCE * math.sqrt(float(images.norm()) * float(expected.norm())) + 10 * rounding
    return float((images - expected).norm()) <= allowed


def _shaped(direction: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return direction.reshape(x.shape).to(x.device, x.dtype)
