"""The base of a plane of noises and its two directions: drawn from seeds, or through three noises."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.config import Geometry
from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.noise.directions import direction, normal
from denoscope.noise.noise_set import Shape

Vectors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
PARALLEL = 1e-6
"""The sine of the angle below which two directions count as one."""


class PlaneFrame(ABC):
    """A base and two orthonormal directions, each [C, H, W] float64."""

    shape: Shape
    """(C, H, W)."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What the frame is made from, as JSON values."""

    @property
    @abstractmethod
    def stem(self) -> str:
        """The beginning of the names of the plane's noises."""

    @abstractmethod
    def _spanning(self) -> Vectors:
        """Base, and two directions that span the plane, of which the first is a unit vector."""

    @functools.lru_cache(maxsize=4)  # noqa: B019 - frames are values, and few
    def vectors(self, geometry: Geometry) -> Vectors:
        """Base, d1 and d2; on a sphere both directions are orthogonal to the base too.

        Raises: UserError if the directions are parallel.
        """
        base, first, second = self._spanning()
        if geometry == "flat":
            return base, first, _orthonormal(second, [first])
        radial = base / base.norm()
        first = _orthonormal(first, [radial])
        return base, first, _orthonormal(second, [radial, first])

    @property
    def circumference(self) -> float:
        """The length of a great circle through the base (L2)."""
        return 2 * math.pi * float(self.vectors("spherical")[0].norm())

    def at(self, points: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The noises [n, C, H, W] at points (u, v) [n, 2], float64.

        On a plane they are base + u·d1 + v·d2. On a sphere about 0, of the base's norm r, they are reached from the base
        along the great circle in the direction u·d1 + v·d2, after an arc of length √(u² + v²).
        """
        base, first, second = self.vectors(geometry)
        u, v = points.T[:, :, None, None, None]
        if geometry == "flat":
            return base + u * first + v * second
        angle = torch.hypot(u, v) / base.norm()
        return torch.cos(angle) * base + torch.sinc(angle / math.pi) * (u * first + v * second)

    def coordinates_of(self, states: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The points (u, v) [n, 2] of states [n, C, H, W]; on a sphere, of their directions."""
        base, *directions = self.vectors(geometry)
        frame = torch.stack(directions).flatten(1)
        if geometry == "flat":
            return (states - base).flatten(1) @ frame.T
        tangent = states.flatten(1) @ frame.T
        along = states.flatten(1) @ base.flatten() / base.norm()
        length = tangent.norm(dim=1)
        arc = base.norm() * torch.atan2(length, along)
        return tangent * (arc / length.clamp_min(torch.finfo(torch.float64).tiny))[:, None]

    def moved(self, u: float, v: float, geometry: Geometry) -> AnchoredFrame:
        """The frame of the same plane or sphere with its base at (u, v), float64.

        On a sphere the directions are carried along the great circle to the new base (parallel transport).
        """
        base, first, second = self.vectors(geometry)
        (centre,) = self.at(torch.tensor([[u, v]], dtype=torch.float64), geometry)
        length = math.hypot(u, v)
        if geometry == "spherical" and length:
            radius = float(base.norm())
            along, angle = (u * first + v * second) / length, length / radius
            turn = math.cos(angle) * along - math.sin(angle) / radius * base - along
            first, second = first + u / length * turn, second + v / length * turn
        return AnchoredFrame(torch.stack([centre, centre + first, centre + second]))


@dataclass(frozen=True)
class SeededFrame(PlaneFrame):
    """A base and directions drawn from seeds."""

    shape: Shape
    base_seed: int
    direction_seeds: tuple[int, int]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"base_seed": self.base_seed, "direction_seeds": list(self.direction_seeds)}

    @property
    def stem(self) -> str:
        first, second = self.direction_seeds
        return f"plane_{self.base_seed:04d}_{first}_{second}"

    def _spanning(self) -> Vectors:
        first, second = (direction(self.shape, "direction", seed) for seed in self.direction_seeds)
        return normal(self.shape, "base", self.base_seed).double(), first, second


@dataclass(frozen=True, eq=False)
class AnchoredFrame(PlaneFrame):
    """The first of three noises as the base, and directions in the plane through all three; `anchors` [3, C, H, W]."""

    anchors: torch.Tensor

    @classmethod
    def fitted(cls, points: torch.Tensor, states: torch.Tensor, geometry: Geometry) -> AnchoredFrame:
        """The frame of the plane or sphere on which states [n, C, H, W] lie at points (u, v) [n, 2], not all on one line.

        Both are linear in base, d1 and d2, which are found by least squares, to the rounding of the states.
        """
        u, v = points.double().T
        along, across = torch.ones_like(u), torch.ones_like(u)
        if geometry == "spherical":
            angle = torch.hypot(u, v) / states[0].double().norm()
            along, across = torch.cos(angle), torch.sinc(angle / math.pi)
        weights = torch.stack([along, across * u, across * v], 1)
        base, first, second = torch.linalg.lstsq(weights, states.double().flatten(1)).solution.reshape(
            3, *states.shape[1:]
        )
        return cls(torch.stack([base, base + first, base + second]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnchoredFrame) and torch.equal(self.anchors, other.anchors)

    def __hash__(self) -> int:
        return hash(self.shape)  # equal frames are few, and told apart by their anchors

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        channels, height, width = self.anchors.shape[1:]
        return channels, height, width

    @property
    def parameters(self) -> dict[str, Any]:
        return {"anchors_sha256": tensor_files.sha256(self.anchors)}

    @property
    def stem(self) -> str:
        return f"plane_{tensor_files.sha256(self.anchors)[:8]}"

    def _spanning(self) -> Vectors:
        base, second, third = self.anchors
        first = second - base
        return base, first / first.norm(), third - base

    def coordinates(self, geometry: Geometry) -> torch.Tensor:
        """The points (u, v) [3, 2] of the three noises; on a sphere, of their directions."""
        return self.coordinates_of(self.anchors, geometry)


def _orthonormal(vector: torch.Tensor, others: list[torch.Tensor]) -> torch.Tensor:
    """The unit vector along what is left of a vector orthogonal to orthonormal others.

    Raises: UserError if next to nothing is left.
    """
    length = vector.norm()
    for _ in range(2):  # the second pass removes the rounding error of the first
        for other in others:
            vector = vector - (vector * other).sum() * other
        if not vector.norm() > PARALLEL * length:
            raise UserError(
                "the three states span no plane: two are equal, or all lie on one line, or on a sphere in one plane with 0; "
                "give other states"
            )
        vector, length = vector / vector.norm(), torch.ones(())
    return vector
