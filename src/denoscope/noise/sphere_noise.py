"""Noises on a sphere about the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.config import SystemConfig
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.validation import parse_integer, parse_real
from denoscope.noise.directions import LARGEST, direction
from denoscope.noise.noise_set import NoiseSet, Shape, check_not_swapped, check_shape


@dataclass(frozen=True, eq=False, repr=False)
class SphereNoise(NoiseSet):
    """Noises of one L2 norm in uniformly random directions; made by `sphere`."""

    num_samples: int
    shape: Shape
    radius: float
    seed: int

    def __len__(self) -> int:
        return self.num_samples

    def _name(self, index: int) -> str:
        return f"sphere_{index:04d}"

    def _tensor(self, index: int) -> torch.Tensor:
        return (self.radius * direction(self.shape, "sphere", self.seed, index)).float()

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "kind": "sphere",
            "num_samples": self.num_samples,
            "radius": self.radius,
            "seed": self.seed,
        }

    @property
    def stem(self) -> str:
        return "sphere"


@calls_checked
def sphere(
    num_samples: int, shape: Shape, *, radius: float | None = None, seed: int = SystemConfig.seed
) -> SphereNoise:
    """Noises of one L2 norm, `radius`, in uniformly random directions.

    Args:
        radius: √(C·H·W) by default, the root mean square norm of standard normal noises.
    """
    check_not_swapped(num_samples, "num_samples", shape)
    shape = check_shape(shape)
    norm = math.sqrt(math.prod(shape)) if radius is None else radius
    return SphereNoise(
        num_samples=parse_integer(num_samples, "num_samples", minimum=1),
        shape=shape,
        radius=parse_real(norm, "radius", above=0, maximum=LARGEST),
        seed=parse_integer(seed, "seed"),
    )
