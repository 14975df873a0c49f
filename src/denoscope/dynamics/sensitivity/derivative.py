"""The derivative of a map along directions: exact by automatic differentiation, or by central differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from denoscope.dynamics.sensitivity.forward_mode import make_ready
from denoscope.dynamics.sensitivity.maps import Map, around, size_of
from denoscope.foundation.errors import UserError, first_line

Derivative = Callable[[Map, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Of (map, state, directions [n, k] in float64) to (next state, images of the directions [n, k] in float64)."""

FEW_NUMBERS = 16
"""Up to so many numbers a state, the whole Jacobian takes less time than two directions by forward mode."""

BESIDE = (0.0, 0.01, -0.01)
"""How far from a state derivatives are compared, in its size."""

TOLERANCE = 0.05
"""How far an exact derivative and a central difference may lie apart, relative to their size."""


def by_jacobian(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by the whole Jacobian, a row at a time in reverse mode."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = step(x)
        numbers = y.reshape(-1)
        rows = [torch.autograd.grad(number, x, retain_graph=True)[0].reshape(-1) for number in numbers]
    return y.detach(), torch.stack(rows).to("cpu", torch.float64) @ directions


@torch.no_grad()
def by_jvp(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by one forward-mode pass (torch.func.jvp) for each."""
    make_ready()
    passes = [torch.func.jvp(step, (x,), (_shaped(u, x),)) for u in directions.T]
    images = torch.stack([found[1].reshape(-1) for found in passes], dim=1)
    return passes[0][0], images.to("cpu", torch.float64)


@torch.no_grad()
def by_differences(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of directions by (step(x + h u) − step(x − h u))/2h, with h the cube root of rounding."""
    h = separation(x)
    ends = [(step(x + _shaped(h * u, x)), step(x - _shaped(h * u, x))) for u in directions.T]
    images = torch.stack([(above.double() - below.double()).reshape(-1) for above, below in ends], dim=1)
    return step(x), images.cpu() / (2 * h)


WAYS: dict[str, Derivative] = {
    "whole Jacobian by reverse mode": by_jacobian,
    "torch.func.jvp": by_jvp,
    "central differences": by_differences,
}


def separation(x: torch.Tensor) -> float:
    """The h of central differences: ε^(1/3) for the dtype's ε, times the root mean square of x (1 where x is 0)."""
    return torch.finfo(x.dtype).eps ** (1 / 3) * size_of(x)


def choose(step: Map, x: torch.Tensor, directions: torch.Tensor) -> tuple[str, list[str]]:
    """The name of the first way that works on this map, and a warning for each exact way that should have.

    A way works that raises nothing and agrees with central differences: where a map detaches its state or leaves
    gradient mode inside, automatic differentiation gives zeros and no error. Where they disagree at x, it is looked
    beside x too, for x may lie where the map jumps and central differences are wrong.
    """
    warnings = []
    for name in list(WAYS)[x.numel() > FEW_NUMBERS : -1]:
        try:
            agree = any(_agree(WAYS[name], step, state, directions) for state in around(x, BESIDE))
        except UserError:
            raise
        except (RuntimeError, NotImplementedError, TypeError) as error:
            warnings.append(f"step has no derivative by {name}: {first_line(error)}")
            continue
        if agree:
            return name, warnings
        warnings.append(
            f"the derivative of step by {name} and by central differences disagree:"
            " it detaches its state or is not smooth"
        )
    return "central differences", [
        *warnings,
        f"derivatives are central differences of separation {separation(x):.1g}, right to a few digits only, and wrong"
        " where step jumps",
    ]


@torch.no_grad()
def _agree(way: Derivative, step: Map, x: torch.Tensor, directions: torch.Tensor) -> bool:
    """Whether a way's derivative is that of central differences, as far as rounding lets them tell."""
    images, expected = way(step, x, directions)[1], by_differences(step, x, directions)[1]
    rounding = torch.finfo(x.dtype).eps * float(step(x).double().norm()) / separation(x)
    allowed = TOLERANCE * math.sqrt(float(images.norm()) * float(expected.norm())) + 10 * rounding
    return float((images - expected).norm()) <= allowed


def _shaped(direction: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return direction.reshape(x.shape).to(x.device, x.dtype)
