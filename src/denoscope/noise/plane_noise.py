"""Noises on a grid in a plane."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from denoscope.config import DefaultConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer, parse_real
from denoscope.noise.directions import LARGEST, direction, normal
from denoscope.noise.noise_set import NoiseSet, Shape, check_shape

POINTS = 256
"""Points computed at once, which bounds the memory of their float64 values."""
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, eq=False, repr=False)
class PlaneNoise(NoiseSet):
    """A grid of noises base + u·d1 + v·d2 with orthonormal directions d1 and d2; made by `plane`.

    Cell (x, y) is noise `x * counts[1] + y`.
    """

    counts: tuple[int, int]
    shape: Shape
    lengths: tuple[float, float]
    center: tuple[float, float]
    base_seed: int
    direction_seeds: tuple[int, int]

    def __len__(self) -> int:
        return self.counts[0] * self.counts[1]

    def _name(self, index: int) -> str:
        x, y = divmod(index, self.counts[1])
        return f"{self.stem}_x{x:03d}_y{y:03d}"

    def _tensor(self, index: int) -> torch.Tensor:
        return self._batch([index])[0]

    def _batch(self, indices: Sequence[int]) -> torch.Tensor:
        x, y = np.divmod(np.asarray(indices), self.counts[1])
        return self.at(np.stack([self.u[x], self.v[y]], 1))

    def at(self, points: ArrayLike | torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The noises [n, C, H, W] at points (u, v) [n, 2] of the plane, on its grid or not.

        They are computed in float64 and rounded to `dtype` at the end.
        """
        at = torch.as_tensor(np.asarray(points, dtype=np.float64))
        if at.ndim != 2 or at.shape[1] != 2:
            raise UserError(
                f"{spelled('points')} has shape {list(at.shape)}; allowed: [n, 2], u and v of each"
            )
        if not at.isfinite().all():
            raise UserError(f"{spelled('points')} holds NaN or Inf; allowed: finite coordinates")
        base, first, second = _frame(self.shape, self.base_seed, self.direction_seeds)
        parts = (part.T[:, :, None, None, None] for part in at.split(POINTS))
        return torch.cat([(base + u * first + v * second).to(dtype) for u, v in parts])

    @property
    def u(self) -> np.ndarray:
        """The coordinates of the cells along d1 (L2 distances from the base)."""
        return _ticks(self.counts[0], self.lengths[0], self.center[0])

    @property
    def v(self) -> np.ndarray:
        """The coordinates of the cells along d2 (L2 distances from the base)."""
        return _ticks(self.counts[1], self.lengths[1], self.center[1])

    @property
    def directions(self) -> torch.Tensor:
        """The orthonormal directions d1 and d2 [2, C, H, W], float64."""
        return torch.stack(_frame(self.shape, self.base_seed, self.direction_seeds)[1:])

    @property
    def resolution(self) -> float:
        """The smallest distance (L2) between points of this plane that float32 represents to a tenth.

        Rounding moves each value uniformly within half of the spacing s of float32, which changes the step between two
        noises by √(Σ s²/6) (L2); s is taken at the first cell.
        """
        spacing = np.spacing(self.tensor(0).abs().numpy()).astype(np.float64)
        return 10 * math.sqrt((spacing**2).sum() / 6)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        return {"u": np.repeat(self.u, self.counts[1]), "v": np.tile(self.v, self.counts[0])}

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "kind": "plane",
            "counts": list(self.counts),
            "lengths": list(self.lengths),
            "center": list(self.center),
            "base_seed": self.base_seed,
            "direction_seeds": list(self.direction_seeds),
        }

    @property
    def stem(self) -> str:
        first, second = self.direction_seeds
        return f"plane_{self.base_seed:04d}_{first}_{second}"


def plane(
    counts: tuple[int, int],
    shape: Shape,
    *,
    lengths: tuple[float, float] = DefaultConfig.len_per_direction,
    center: tuple[float, float] = DefaultConfig.center_coords,
    base_seed: int = DefaultConfig.plane_base_seed,
    direction_seeds: tuple[int, int] = DefaultConfig.direction_seeds,
) -> PlaneNoise:
    """A grid of noises base + u·d1 + v·d2 with orthonormal directions d1 and d2; u and v are L2 distances.

    `counts` = (cells along u, cells along v), evenly spaced over `lengths` around `center`, both ends included; a single
    cell is at the center. Cell (x, y) is noise `x * counts[1] + y`.

    >>> plane((25, 41), (1, 28, 28)).at([[0.0, 0.0], [1.5, -2.0]], dtype=torch.float64).shape
    torch.Size([2, 1, 28, 28])

    Raises: UserError if rounding to float32 moves cells by more than a tenth of their distance; it states the smallest
        length.
    """
    shape = check_shape(shape)
    seeds = _pair(direction_seeds, "direction_seeds", parse_integer)
    if math.prod(shape) < 2:
        raise UserError(
            f"{spelled('shape')} is {shape}; allowed: at least two numbers, to have two directions"
        )
    if seeds[0] == seeds[1]:
        raise UserError(f"{spelled('direction_seeds')} is {seeds}; allowed: two different seeds")
    noises = PlaneNoise(
        counts=_pair(counts, "counts", functools.partial(parse_integer, minimum=1)),
        shape=shape,
        lengths=_pair(lengths, "lengths", functools.partial(parse_real, above=0, maximum=LARGEST)),
        center=_pair(center, "center", functools.partial(parse_real, minimum=-LARGEST, maximum=LARGEST)),
        base_seed=parse_integer(base_seed, "base_seed"),
        direction_seeds=seeds,
    )
    _check_spacing(noises)
    return noises


def _check_spacing(noises: PlaneNoise) -> None:
    """Refuse a plane in which rounding misplaces or merges neighbouring cells."""
    smallest = noises.resolution
    for axis, count, length in zip("uv", noises.counts, noises.lengths, strict=True):
        if count > 1 and length < smallest * (count - 1):
            raise UserError(
                f"{spelled('lengths')} is {noises.lengths}: the spacing of cells along {axis} is "
                f"{length / (count - 1):.1e}, below the resolution of float32; allowed: about "
                f"{smallest * (count - 1):.1e} and more for {count} cells along {axis}"
            )


@functools.lru_cache(maxsize=4)
def _frame(
    shape: Shape, base_seed: int, direction_seeds: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The base of a plane and its two orthonormal directions, each [C, H, W] float64."""
    first, second = (direction(shape, "direction", seed) for seed in direction_seeds)
    for _ in range(2):  # the second pass removes the rounding error of the first
        second = second - (second * first).sum() * first
        second = second / second.norm()
    return normal(shape, "base", base_seed).double(), first, second


def _ticks(count: int, length: float, center: float) -> np.ndarray:
    if count == 1:
        return np.array([center])
    return center + np.linspace(-length / 2, length / 2, count)


def _pair(values: Any, name: str, parse: Callable[[Any, str], Number]) -> tuple[Number, Number]:
    """Two numbers, along u and along v."""
    try:
        first, second = values
    except (TypeError, ValueError):
        raise UserError(
            f"{spelled(name)} is {describe(values)}; allowed: two numbers, along u and along v"
        ) from None
    return parse(first, name), parse(second, name)
