"""Independent standard normal noises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.config import SystemConfig
from denoscope.foundation import random_streams
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.validation import parse_integer
from denoscope.noise.directions import normal
from denoscope.noise.noise_set import NoiseSet, Shape, check_not_swapped, check_shape


@dataclass(frozen=True, eq=False, repr=False)
class RandomNoise(NoiseSet):
    """Independent standard normal noises; made by `random`."""

    num_samples: int
    shape: Shape
    seed: int

    def __len__(self) -> int:
        return self.num_samples

    def _name(self, index: int) -> str:
        return f"noise_{index:04d}"

    def _tensor(self, index: int) -> torch.Tensor:
        return normal(self.shape, "random", self.seed, index)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        first = random_streams.stream_seed("random", self.seed)
        return {"seed": (first + np.arange(self.num_samples)) % random_streams.SEEDS}

    @property
    def parameters(self) -> dict[str, Any]:
        return {"kind": "random", "num_samples": self.num_samples, "seed": self.seed}


@calls_checked
def random(num_samples: int, shape: Shape, *, seed: int = SystemConfig.seed) -> RandomNoise:
    """Independent standard normal noises; noise k does not depend on `num_samples`.

    Noise k equals `torch.randn(shape, generator=torch.Generator().manual_seed(s))`, where s is its `seed` coordinate.

    >>> x = random(16, (1, 28, 28), seed=42)
    >>> x.batch(range(4)).shape
    torch.Size([4, 1, 28, 28])
    """
    check_not_swapped(num_samples, "num_samples", shape)
    return RandomNoise(
        num_samples=parse_integer(num_samples, "num_samples", minimum=1),
        shape=check_shape(shape),
        seed=parse_integer(seed, "seed"),
    )
