"""Noises on a grid in a plane, or on a sphere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from denoscope.config import Geometry
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.spelling import spelled
from denoscope.noise import gaussian_norms
from denoscope.noise.noise_set import NoiseSet, Shape
from denoscope.noise.plane_frame import PlaneFrame

POINTS = 256
"""Points computed at once, which bounds the memory of their float64 values."""


@dataclass(frozen=True, eq=False, repr=False)
class PlaneNoise(NoiseSet):
    """A grid of noises in a plane, or on a sphere; made by `plane` and `plane_through`.

    Cell (x, y) is noise `x * counts[1] + y`.
    """

    counts: tuple[int, int]
    lengths: tuple[float, float]
    center: tuple[float, float]
    frame: PlaneFrame
    geometry: Geometry = "flat"
    endpoint: bool = True
    """Whether the last cell along each axis lies at the end of its length, as for `numpy.linspace`."""
    dtype: torch.dtype = torch.float32
    """The precision of the noises."""

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.frame.shape

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

    def in_precision(self, dtype: torch.dtype) -> PlaneNoise:
        """The same points, with noises of another precision."""
        return dataclasses.replace(self, dtype=dtype)

    def around(self, point: tuple[float, float], lengths: tuple[float, float]) -> PlaneNoise:
        """As many noises of the same plane or sphere, around one of its points, with coordinates relative to it.

        The point becomes the base of the new frame. A small part of the plane thus loses no digits of its coordinates:
        what remains is the rounding of the noises themselves.
        """
        return dataclasses.replace(
            self,
            frame=self.frame.moved(*point, self.geometry),
            lengths=lengths,
            center=(0.0, 0.0),
            endpoint=False,
        )

    def at(self, points: ArrayLike | torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The noises [n, C, H, W] at points (u, v) [n, 2] of the plane, on its grid or not.

        They are computed in float64 and rounded at the end to `dtype`, by default that of the plane.
        """
        check_unmasked(points, "points")
        at = torch.as_tensor(np.asarray(points, dtype=np.float64))
        if at.ndim != 2 or at.shape[1] != 2:
            raise UserError(
                f"{spelled('points')} has shape {list(at.shape)}; allowed: [n, 2], u and v of each"
            )
        if not at.isfinite().all():
            raise UserError(f"{spelled('points')} holds NaN or Inf; allowed: finite coordinates")
        return torch.cat(
            [self.frame.at(part, self.geometry).to(dtype or self.dtype) for part in at.split(POINTS)]
        )

    @property
    def u(self) -> np.ndarray:
        """The coordinates of the cells along d1 (L2 distances from the base)."""
        return self._ticks(0)

    @property
    def v(self) -> np.ndarray:
        """The coordinates of the cells along d2 (L2 distances from the base)."""
        return self._ticks(1)

    def _ticks(self, axis: int) -> np.ndarray:
        count, length, center = self.counts[axis], self.lengths[axis], self.center[axis]
        if count == 1:
            return np.array([center])
        if self.endpoint:
            return center + np.linspace(-length / 2, length / 2, count)
        # Exact fractions of the length, so that grids of 2, 4, 8, … times as many cells share their points to the bit.
        return center + length * (np.arange(count) / count - 0.5)

    @property
    def spacing(self) -> tuple[float, float]:
        """The distances (L2) of neighbouring cells along u and v; 0 along an axis with one cell."""
        along_u, along_v = (
            length / (count - self.endpoint) if count > 1 else 0.0
            for length, count in zip(self.lengths, self.counts, strict=True)
        )
        return along_u, along_v

    @property
    def directions(self) -> torch.Tensor:
        """The orthonormal directions d1 and d2 [2, C, H, W], float64."""
        return torch.stack(self.frame.vectors(self.geometry)[1:])

    @property
    def resolution(self) -> float:
        """The smallest distance (L2) between points of this plane that its precision represents to a tenth.

        Rounding moves each value uniformly within half of the spacing s of floating-point numbers, which changes the step
        between two noises by √(Σ s²/6) (L2); s is taken at the first cell.
        """
        corner = [
            center - length / 2 if count > 1 else center
            for count, length, center in zip(self.counts, self.lengths, self.center, strict=True)
        ]
        first = self.at([corner])[0].abs()
        values = first if first.dtype == torch.float64 else first.float()  # NumPy has no bfloat16
        coarser = torch.finfo(self.dtype).eps / torch.finfo(values.dtype).eps
        spacing = np.spacing(values.numpy()).astype(np.float64) * coarser
        return 10 * math.sqrt((spacing**2).sum() / 6)

    @property
    def largest_resolution(self) -> float:
        """An upper bound of the resolution at all points within the lengths of this plane.

        The spacing s of floating-point numbers at x is at most ε·|x|, so that √(Σ s²) is at most ε·‖x‖; the norm is largest
        at a corner.
        """
        corners = dataclasses.replace(self, counts=(2, 2), endpoint=True)
        return 10 * torch.finfo(self.dtype).eps * corners.norms[1] / math.sqrt(6)

    @property
    def norms(self) -> tuple[float, float]:
        """The smallest and the largest norm (L2) of the noises."""
        base, *directions = self.frame.vectors(self.geometry)
        square = float((base**2).sum())
        if self.geometry == "spherical":
            return math.sqrt(square), math.sqrt(square)
        # ‖base + u·d1 + v·d2‖² is a sum of one function of u and one of v.
        along = [
            ticks**2 + 2 * ticks * float((base * vector).sum())
            for ticks, vector in zip((self.u, self.v), directions, strict=True)
        ]
        low, high = (square + sum(float(end(parts)) for parts in along) for end in (np.min, np.max))
        return math.sqrt(max(low, 0.0)), math.sqrt(high)

    @property
    def warnings(self) -> list[str]:
        """What a map of this plane should not be taken for, one line each.

        A plane in which a norm is one that fewer than one in a million Gaussian noises of this shape exceed, or fall
        below (quantiles of the χ distribution with C·H·W degrees of freedom); a spherical plane that holds noises twice.
        """
        advice = f"shorten {spelled('lengths')}, or choose {spelled('geometry', 'spherical')}"
        if left := gaussian_norms.warnings("the noises of the plane", self.norms, self.shape, advice=advice):
            return left
        farthest = math.hypot(np.abs(self.u).max(), np.abs(self.v).max())
        if self.geometry == "spherical" and farthest > self.frame.circumference / 2:
            return [
                f"corners of the plane are {farthest:.4g} from the base, beyond the opposite pole of the sphere at "
                f"{self.frame.circumference / 2:.4g}: it can hold noises twice; shorten {spelled('lengths')}"
            ]
        return []

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
            **self.frame.parameters,
            # Absent from planes of before.
            **({} if self.geometry == "flat" else {"geometry": self.geometry}),
            **({} if self.endpoint else {"endpoint": False}),
            **({} if self.dtype == torch.float32 else {"dtype": name_of(self.dtype)}),
        }

    @property
    def stem(self) -> str:
        return self.frame.stem
