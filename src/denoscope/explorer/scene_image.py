"""The image of a scene, to which every noise of the plane is added."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import numpy as np
import torch

from denoscope.explorer.scene import MOST_VALUES, Scene
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import noised
from denoscope.noise.noise_set import Shape
from denoscope.sampling.image_start import ImageStart
from denoscope.sampling.settings import Loop


@dataclass(frozen=True, eq=False)
class SceneImage:
    """Where denoising begins, and how close noises may be that are told apart when they are added to the image."""

    start: ImageStart
    coarser: float
    """How many times farther apart noises must be than without the image: (a‖x‖ + b‖ε‖) / b‖ε‖ for states a·x + b·ε."""

    @classmethod
    def of(cls, scene: Scene, denoiser: Denoiser) -> SceneImage | None:
        """The image of a scene; None without one.

        Raises: UserError if it does not fit the denoiser, no step is left at its level, or the scheduler cannot begin there.
        """
        if not scene.image:
            return None
        image = image_of(scene.image, denoiser.shape)
        start = ImageStart.of(denoiser, image, float(scene.image_level), scene.steps, name="image_level")
        scheduler = Loop(steps=scene.steps).scheduler(denoiser)
        zero, one = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
        kept, added = (float(noised(scheduler, *pair, start.step)) for pair in ((one, zero), (zero, one)))
        norm = math.sqrt(image.numel())  # of typical noises
        return cls(start, 1 + kept * float(image.norm()) / (added * norm))


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
