"""Directions in the space of noises: drawn at random, the corners of a simplex, or given."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from denoscope.foundation import random_streams, tensor_files
from denoscope.foundation.errors import UserError

Directions = str | os.PathLike[str] | torch.Tensor
"""random, simplex, or directions [n, C, H, W] as a tensor or in a .pt file."""


def normal(shape: tuple[int, ...], purpose: str, seed: int, index: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=random_streams.generator(purpose, seed, index))


def direction(shape: tuple[int, ...], purpose: str, seed: int, index: int = 0) -> torch.Tensor:
    drawn = normal(shape, purpose, seed, index).double()
    return drawn / drawn.norm()


def directions_of(
    given: Directions, shape: tuple[int, ...], count: int, seed: int
) -> tuple[str, Callable[[int], torch.Tensor], dict[str, Any]]:
    """What perturbations are called, the direction [C, H, W] of each in float64, and what is told of them."""
    if isinstance(given, str) and given == "random":
        return "pert", lambda index: direction(shape, "perturbation", seed, index), {"perturb_seed": seed}
    if isinstance(given, str) and given == "simplex":
        corners = _simplex(shape, count, seed)
        return "simplex", lambda index: corners[index], {"directions": "simplex", "perturb_seed": seed}
    if not isinstance(given, torch.Tensor):
        given = tensor_files.load(Path(given))
    fits = given.ndim == 4 and tuple(given.shape[1:]) == shape and given.is_floating_point()
    if not fits or len(given) < count:
        raise UserError(
            f"directions are {given.dtype} {list(given.shape)}; needed is random, simplex, or floating point "
            f"[{count} or more, {', '.join(map(str, shape))}]"
        )
    rows = given[:count].detach().cpu().double()
    lengths = rows.flatten(1).norm(dim=1)
    if not (torch.isfinite(lengths) & (lengths > 0)).all():
        raise UserError("directions hold one that is zero, NaN or Inf; leave it out")
    units = rows / lengths[:, None, None, None]
    return "along", lambda index: units[index], {"directions_sha256": tensor_files.sha256(units)}


def _simplex(shape: tuple[int, ...], count: int, seed: int) -> torch.Tensor:
    """The corners [count, C, H, W] of a regular simplex about 0, of unit length, in a random position."""
    size = math.prod(shape)
    if not 2 <= count <= size + 1:
        raise UserError(
            f"num_perturbations is {count}; allowed: 2 to {size + 1}, as many corners as a simplex of this size can have"
        )
    # The corners e_i − 1/n of the simplex in n numbers, in coordinates of the n − 1 directions that they span.
    centred = torch.eye(count, dtype=torch.float64) - 1 / count
    corners = centred @ torch.linalg.svd(centred).Vh[: count - 1].T
    drawn = [direction(shape, "simplex", seed, index).flatten() for index in range(count - 1)]
    frame = torch.linalg.qr(torch.stack(drawn, 1)).Q
    found = corners @ frame.T
    return (found / found.norm(dim=1, keepdim=True)).reshape(count, *shape)
