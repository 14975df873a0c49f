"""The frame of a plane with coordinates relative to one of its points, for parts too small for absolute ones."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.config import Geometry
from denoscope.noise.noise_set import Shape
from denoscope.noise.plane_frame import AnchoredFrame, PlaneFrame, Vectors

SERIES_BELOW = 0.5
"""Angles below which differences of sin θ / θ are summed as a series, whose terms do not cancel."""
TERMS = 10
FAR = 0.25
"""Differences of angles from which the difference of two values of sin θ / θ loses no digits that matter."""


@dataclass(frozen=True)
class RelativeFrame(PlaneFrame):
    """The same plane or sphere as `frame`, with the point (u, v) of that frame as (0, 0).

    The noise at (du, dv) is that of `frame` at (u + du, v + dv). It is computed as a rounded base plus an exact
    difference: double precision resolves du and dv down to the rounding of the noises, however large u and v are. Unlike
    `PlaneFrame.moved`, it keeps the coordinates of a sphere, which are distances from the base of `frame`.
    """

    frame: PlaneFrame
    u: float
    v: float

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.frame.shape

    @property
    def parameters(self) -> dict[str, Any]:
        return {**self.frame.parameters, "origin": [self.u, self.v]}

    @property
    def stem(self) -> str:
        return self.frame.stem

    def _spanning(self) -> Vectors:
        return self.moved(0.0, 0.0, "flat").vectors("flat")

    @functools.lru_cache(maxsize=4)  # noqa: B019 - frames are values, and few
    def vectors(self, geometry: Geometry) -> Vectors:
        return self.moved(0.0, 0.0, geometry).vectors(geometry)

    def moved(self, u: float, v: float, geometry: Geometry) -> AnchoredFrame:
        return self.frame.moved(self.u + u, self.v + v, geometry)

    def at(self, points: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        base, first, second = self.frame.vectors(geometry)
        middle = self._base(geometry)
        du, dv = points.T[:, :, None, None, None]
        if geometry == "flat":
            return middle + (du * first + dv * second)
        radius = float(base.norm())
        cosine, sinc, change = self._changes(du, dv, radius)
        along_u = (sinc + change) * du + change * self.u
        along_v = (sinc + change) * dv + change * self.v
        return middle + (cosine * base + along_u * first + along_v * second)

    def coordinates_of(self, states: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        return self.frame.coordinates_of(states, geometry) - torch.tensor(
            [self.u, self.v], dtype=torch.float64
        )

    @functools.lru_cache(maxsize=4)  # noqa: B019 - frames are values, and few
    def _base(self, geometry: Geometry) -> torch.Tensor:
        """The noise at (0, 0) [C, H, W]."""
        return self.frame.at(torch.tensor([[self.u, self.v]], dtype=torch.float64), geometry)[0]

    def _changes(
        self, du: torch.Tensor, dv: torch.Tensor, radius: float
    ) -> tuple[torch.Tensor, float, torch.Tensor]:
        """What (du, dv) adds to cos θ, S(θ) = sin θ / θ at (0, 0), and what it adds to that; θ = √(u² + v²) / radius."""
        before = math.hypot(self.u, self.v) / radius
        after = torch.hypot(self.u + du, self.v + dv) / radius
        squares = (
            du * (2 * self.u + du) + dv * (2 * self.v + dv)
        ) / radius**2  # θ² grows by so much, to the last bit
        sinc = math.sin(before) / before if before else 1.0
        total = after + before
        grown = torch.where(total > 0, squares / total, torch.zeros_like(total))
        half_sum, half = total / 2, grown / 2
        cosine = -2 * torch.sin(half_sum) * torch.sin(half)
        sines = 2 * torch.cos(half_sum) * torch.sin(half)
        change = torch.where(
            grown.abs() < FAR, (sines - sinc * grown) / after, torch.sinc(after / math.pi) - sinc
        )
        series = squares * _divided_difference(after**2, before**2)
        return cosine, sinc, torch.where(after.clamp_min(before) < SERIES_BELOW, series, change)


def _divided_difference(after: torch.Tensor, before: float) -> torch.Tensor:
    """(S(√a) − S(√b)) / (a − b) for S(θ) = sin θ / θ = Σ (−θ²)ⁿ / (2n + 1)!, also where a = b."""
    total = torch.zeros_like(after)
    for n in range(1, TERMS):
        powers = sum(after**k * before ** (n - 1 - k) for k in range(n))
        total = total + (-1) ** n / math.factorial(2 * n + 1) * powers
    return total
