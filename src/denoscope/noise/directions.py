"""Directions in the space of noises: random, the corners of a simplex, or given."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

import torch

from denoscope.foundation import random_streams, tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe

Directions = str | os.PathLike[str] | torch.Tensor
"""random, simplex, or directions [n, C, H, W] as a tensor or in a .pt file."""
LARGEST = 1e30
"""The largest length and the largest value of a noise: float32 ends at 3e38, and sums and squares must stay finite."""


def normal(shape: tuple[int, ...], purpose: str, seed: int, index: int = 0) -> torch.Tensor:
    """Draw `index` of standard normal numbers for a purpose, float32."""
    return torch.randn(shape, generator=random_streams.generator(purpose, seed, index))


def direction(shape: tuple[int, ...], purpose: str, seed: int, index: int = 0) -> torch.Tensor:
    """Draw `index` of a uniformly distributed unit vector, float64."""
    drawn = normal(shape, purpose, seed, index).double()
    return drawn / drawn.norm()


def parse_directions(directions: Directions, shape: tuple[int, ...], count: int) -> str | torch.Tensor:
    """ "random", "simplex", or the first `count` directions of a tensor or file as unit vectors [count, C, H, W] in float64.

    Raises: UserError if there are fewer than `count`, if they have another shape, or if one is zero or not finite.
    """
    name = spelled("directions")
    if isinstance(directions, str) and directions == "random":
        return directions
    if isinstance(directions, str) and directions == "simplex":
        corners = math.prod(shape) + 1
        if not 2 <= count <= corners:
            raise UserError(
                f"{spelled('num_perturbations')} is {count}; allowed: 2 to {corners} with {spelled('directions', 'simplex')}, "
                "the number of corners that a regular simplex of this dimension can have"
            )
        return directions
    allowed = f"random, simplex, or floating-point directions [{count} or more, {', '.join(map(str, shape))}]"
    if isinstance(directions, (str, os.PathLike)):
        if not os.path.exists(directions):
            raise UserError(f"{name} is {directions}, which is no file; allowed: {allowed} in a .pt file")
        directions = tensor_files.load(Path(directions))
    if not isinstance(directions, torch.Tensor):
        raise UserError(f"{name} is {describe(directions)}; allowed: {allowed}")
    fits = directions.ndim == 4 and tuple(directions.shape[1:]) == shape and directions.is_floating_point()
    if not fits or len(directions) < count:
        raise UserError(f"{name} is a {directions.dtype} tensor {list(directions.shape)}; allowed: {allowed}")
    rows = directions[:count].detach().cpu().double()
    lengths = rows.flatten(1).norm(dim=1)
    wrong = (~(torch.isfinite(lengths) & (lengths > 0))).nonzero().flatten().tolist()
    if wrong:
        raise UserError(f"{name} is zero, NaN or Inf in row {wrong[0]}; leave that row out")
    return rows / lengths[:, None, None, None]


@functools.lru_cache(maxsize=2)
def simplex(shape: tuple[int, ...], count: int, seed: int) -> torch.Tensor:
    """The corners [count, C, H, W] of a randomly rotated regular simplex about 0, of unit length, float64."""
    # The corners e_i − 1/n in n dimensions, in coordinates of the n − 1 directions that they span.
    centred = torch.eye(count, dtype=torch.float64) - 1 / count
    corners = centred @ torch.linalg.svd(centred).Vh[: count - 1].T
    drawn = [direction(shape, "simplex", seed, index).flatten() for index in range(count - 1)]
    frame = torch.linalg.qr(torch.stack(drawn, 1)).Q
    rotated = corners @ frame.T
    return (rotated / rotated.norm(dim=1, keepdim=True)).reshape(count, *shape)
