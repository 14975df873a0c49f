"""Beginning the denoising loop with an image to which noise is added."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import begin_at, noised
from denoscope.models.schedulers import Scheduler, keeps_no_history
from denoscope.noise.coercion import as_state


@dataclass(frozen=True, eq=False)
class ImageStart:
    """An image [C, H, W] to which each noise x_T is added, up to the level of `step`, with which the loop begins.

    Source: Meng et al., ICLR 2022 (SDEdit), as in diffusers' pipelines from image to image.
    """

    image: torch.Tensor
    step: int

    @classmethod
    def of(
        cls, denoiser: Denoiser, image: torch.Tensor, level: Any, steps: int, *, name: str = "level"
    ) -> ImageStart:
        """The start with a share `level` of the steps left; `name` is this argument, for the message.

        Raises: UserError if the level leaves no step, or the scheduler adds no noise to images or uses earlier steps.
        """
        step, scheduler = first_step_of(level, steps, name), denoiser.scheduler
        if not (keeps_no_history(scheduler) and hasattr(scheduler, "add_noise")):
            raise UserError(
                f"{spelled('image')} is given, and {type(scheduler).__name__} cannot begin between two steps; allowed: DDIM, "
                "DDPM, Euler, EulerAncestral"
            )
        return cls(image, step)

    @property
    def described(self) -> dict[str, Any]:
        """What decides the bits of a run, as JSON values."""
        return {"sha256": tensor_files.sha256(self.image), "first_step": self.step}

    def states(self, scheduler: Scheduler, x_T: torch.Tensor) -> torch.Tensor:
        """The states before the first step, from noises [n, C, H, W]; the scheduler is set to begin with this step."""
        begin_at(scheduler, self.step)
        return noised(scheduler, self.image.to(x_T).expand_as(x_T), x_T, self.step)


def parse_image(denoiser: Denoiser, image: Any, level: Any, steps: int) -> ImageStart | None:
    """The start from the arguments of `denoise`; None without an image.

    Raises: UserError if the image does not fit the denoiser, or as `ImageStart.of`.
    """
    if image is None:
        if level is not None:
            raise UserError(
                f"{spelled('level')} is {describe(level)} without an image; give one ({spelled('image')})"
            )
        return None
    state = as_state(image, shape=denoiser.shape, name="image").cpu()
    return ImageStart.of(denoiser, state, level, steps)


def first_step_of(level: Any, steps: int, name: str = "level") -> int:
    """The step from which a share `level` of the steps remains; `name` is the argument, for the message."""
    is_share = isinstance(level, numbers.Real) and not isinstance(level, bool) and 0 < float(level) <= 1
    remaining = round(float(level) * steps) if is_share else 0
    if remaining < 1:
        raise UserError(
            f"{spelled(name)} is {describe(level)}; allowed: {1 / steps:g} to 1, the share of the {steps} steps that "
            "denoising takes"
        )
    return steps - remaining
