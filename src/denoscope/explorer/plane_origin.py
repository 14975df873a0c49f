"""Planes through three noises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from denoscope.explorer.scene import Scene
from denoscope.noise import planes
from denoscope.noise.directions import normal
from denoscope.noise.noise_set import Shape

EDGE = 1.1
"""Half of the side of a plane through three noises, divided by their largest absolute coordinate."""


@dataclass(frozen=True, eq=False)
class PlaneOrigin:
    """Three states [3, C, H, W] that span a plane, as those of `noise.plane_through`; the first is its middle."""

    states: torch.Tensor
    named: Mapping[str, tuple[float, float]]
    """Coordinates of the three noises, by their names in the plane."""
    side: str
    """The side of the plane (L2) that shows them."""

    @classmethod
    def of(cls, scene: Scene, shape: Shape) -> PlaneOrigin | None:
        """The plane through the bases of three seeds of a scene, centred on the middle of their extent; None without them.

        Raises: UserError if they span no plane.
        """
        if not scene.through:
            return None
        first, second, third = (normal(shape, "base", seed).double() for seed in scene.through)
        plane = planes.plane_through(first, second, third, (1, 1), geometry=scene.geometry, endpoint=False)
        frame = plane.frame.moved(*plane.center, scene.geometry)
        points = frame.coordinates_of(torch.stack([first, second, third]), scene.geometry).tolist()
        named = {str(k + 1): (u, v) for k, (u, v) in enumerate(points)}
        side = math.ceil(2 * EDGE * max(abs(x) for point in points for x in point))
        return cls(frame.anchors, named, str(side))
