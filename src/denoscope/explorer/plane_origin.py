"""Planes that do not come from seeds alone: around an image with noise, or through three noises."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from denoscope.dynamics.loops.closed_loop import first_step_of
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.explorer.scene import MOST_VALUES, Scene
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser
from denoscope.noise import planes
from denoscope.noise.directions import direction, normal
from denoscope.noise.noise_set import Shape
from denoscope.sampling.settings import Loop

EDGE = 1.1
"""Half of the side of a plane through three noises, divided by their largest absolute coordinate."""


@dataclass(frozen=True, eq=False)
class PlaneOrigin:
    """Three states [3, C, H, W] that span a plane, as those of `noise.plane_through`; the first is its middle."""

    states: torch.Tensor
    named: Mapping[str, tuple[float, float]]
    """Coordinates of the noises that have a name in the plane."""
    side: str = ""
    """The side of the plane (L2) that shows them; empty for the default of planes from seeds."""

    @classmethod
    def of(cls, scene: Scene, denoiser: Denoiser) -> PlaneOrigin | None:
        """The origin of the plane of a scene; None if it comes from seeds.

        Raises: UserError if the image does not fit the denoiser, or the three noises span no plane.
        """
        if scene.image:
            return cls(around_image(scene, denoiser), {"image": (0.0, 0.0)})
        return cls.through(scene, denoiser.shape) if scene.through else None

    @classmethod
    def through(cls, scene: Scene, shape: Shape) -> PlaneOrigin:
        """The plane through the bases of three seeds, centred on the middle of their extent.

        Raises: UserError if they span no plane.
        """
        first, second, third = (normal(shape, "base", seed).double() for seed in scene.through)
        plane = planes.plane_through(first, second, third, (1, 1), geometry=scene.geometry, endpoint=False)
        frame = plane.frame.moved(*plane.center, scene.geometry)
        points = frame.coordinates_of(torch.stack([first, second, third]), scene.geometry).tolist()
        named = {str(k + 1): (u, v) for k, (u, v) in enumerate(points)}
        side = math.ceil(2 * EDGE * max(abs(x) for point in points for x in point))
        return cls(frame.anchors, named, str(side))


def around_image(scene: Scene, denoiser: Denoiser) -> torch.Tensor:
    """The image of a scene with noise, and the states one unit from it along the directions of the scene's seeds.

    The image is √ᾱ x + √(1−ᾱ) ε, as the step of `image_level` starts from it in a closed loop, and of the noise of
    `base_seed`. Schedulers whose states have another scale are divided by it, as x_T is.

    Raises: UserError if the scheduler adds no noise to images, or none of the steps starts at the level.
    """
    flow = DenoisingMap(denoiser, Loop(steps=scene.steps))
    step = first_step_of(float(scene.image_level), scene.steps, "image_level")
    image = image_of(scene.image, denoiser.shape)[None]
    noise = normal(denoiser.shape, "base", scene.base_seed).double()[None]
    zero, one = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
    scale = math.hypot(float(flow.noised(one, zero, step)), float(flow.noised(zero, one, step)))
    base = flow.noised(image, noise, step)[0] / scale
    return torch.stack(
        [base, *(base + direction(denoiser.shape, "direction", seed) for seed in scene.direction_seeds)]
    )


def image_of(text: str, shape: Shape) -> torch.Tensor:
    """The image [C, H, W] in −1 … 1, float64, of a scene's field: C·H·W bytes as base64url.

    Raises: UserError if it has another number of values, or the model's states have too many.
    """
    count = math.prod(shape)
    if count > MOST_VALUES:
        raise UserError(
            f"image is given, and the model's states have {count:,} values; allowed: {MOST_VALUES:,}"
        )
    values = np.frombuffer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), np.uint8)
    if len(values) != count:
        raise UserError(
            f"image has {len(values)} bytes; allowed: {count}, one for each of {' × '.join(map(str, shape))} values"
        )
    return torch.from_numpy(values / 127.5 - 1).reshape(shape)
