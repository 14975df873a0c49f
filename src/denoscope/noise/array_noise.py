"""Noises in an array, which `as_noises` makes from tensors, NumPy arrays and xarray.DataArrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from denoscope.noise.noise_set import NoiseSet, Shape


@dataclass(frozen=True, eq=False, repr=False)
class ArrayNoise(NoiseSet):
    """The noises [n, C, H, W] of an array.

    Without names, noise k is called noise_000k.
    """

    values: torch.Tensor
    given_names: tuple[str, ...] | None = None
    given_coords: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        _, channels, height, width = self.values.shape
        return channels, height, width

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def _name(self, index: int) -> str:
        return f"noise_{index:04d}" if self.given_names is None else self.given_names[index]

    @property
    def has_made_up_names(self) -> bool:
        return self.given_names is None

    def _tensor(self, index: int) -> torch.Tensor:
        return self.values[index].clone()

    def _batch(self, indices: Sequence[int]) -> torch.Tensor:
        return self.values[list(indices)]

    @property
    def coords(self) -> dict[str, np.ndarray]:
        return dict(self.given_coords)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"kind": "array", "num_samples": len(self)}

    def _summary(self) -> dict[str, Any]:
        return {"dtype": str(self.dtype)}
