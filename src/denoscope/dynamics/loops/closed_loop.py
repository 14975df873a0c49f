"""Noising and denoising as one map of images to images, to be iterated."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from denoscope.config import InferenceConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.spectrum import origin_of
from denoscope.foundation import random_streams
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.foundation.validation import describe, parse_choice
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.sampling.settings import Loop


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """x ← denoise(noise x to a level): finite images [C, H, W] or [n, C, H, W] to images, differentiable.

    With one noise for all iterations ("fixed") it is one map. With "common" noise it is another one at every iteration,
    `at(iteration)`, the same for all images: a random dynamical system.
    """

    flow: DenoisingMap = field(repr=False)
    begin: int
    noise: Literal["fixed", "common"]
    noise_seed: int

    @property
    def origin(self) -> dict[str, Any]:
        """What a measure of its orbits was computed from."""
        return origin_of(self.flow, begin=self.begin, loop_noise=self.noise, loop_noise_seed=self.noise_seed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The next image of x, by the noise of iteration 0."""
        return self._next(x, 0)

    def at(self, iteration: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map of an iteration, counted from 0."""
        return lambda x: self._next(x, iteration if self.noise == "common" else 0)

    def noised(self, x: torch.Tensor, iteration: int = 0) -> torch.Tensor:
        """x [n, C, H, W], or [C, H, W], as denoising begins with it: [n, C, H, W]."""
        x = self._rows(x)
        draw = random_streams.generator("closed loop", self.noise_seed, iteration)
        noise = torch.randn(x.shape[1:], generator=draw).to(x).expand_as(x)
        return self.flow.noised(x, noise, self.begin)

    def _next(self, x: torch.Tensor, iteration: int) -> torch.Tensor:
        noised = self.noised(x, iteration)
        return self.flow.from_step(self.begin, noised).to(x.dtype).reshape(x.shape)

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        """The images as [n, C, H, W], refused where they are none."""
        rows = x[None] if isinstance(x, torch.Tensor) and x.ndim == 3 else x
        self.flow.denoiser.check_states(rows, "x")
        if not rows.isfinite().all():
            raise UserError("x holds NaN or Inf; start from finite images, or at a level that keeps them so")
        return rows


@accepts_num_steps
def closed_loop(
    denoiser: Denoiser,
    level: float = 0.5,
    *,
    noise_seed: int = 0,
    noise: Literal["fixed", "common"] = "fixed",
    steps: int = InferenceConfig.num_steps,
    lanes: int = 1,
    condition: Condition = NOTHING,
    streams: int = STREAMS_VERSION,
) -> ClosedLoop:
    """The map that noises an image up to a level and denoises it again, for `lyapunov`, `orbit` and their kin.

    >>> loop = closed_loop(denoiser, level=0.5)
    >>> lyapunov(loop, x_0.double(), iterations=2000, k=2)

    Args:
        level: how far back, as a share of the steps: 1 starts from the noisiest level there is, at 0.5 half of the
            `steps` are left. Rounded to a whole step.
        noise: "fixed", one draw for all iterations; or "common", one for each, the same for all images.
        noise_seed: of that noise, and of what a stochastic scheduler adds in its steps, which is the same in every
            iteration.
        lanes: rows of every network call: 1 for the orbit of one image; more are faster for several at once.
        streams: the version of the random streams of a stochastic scheduler's noise; 1 to resume a checkpoint that
            denoscope 0.1 began.

    Raises: UserError if the level leaves no step, or the scheduler remembers earlier steps.
    """
    parse_choice(noise, "noise", ("fixed", "common"))
    flow = DenoisingMap(
        denoiser, Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=streams), condition
    )
    flow.need_single_steps()
    return ClosedLoop(flow, begin_of(level, steps), noise, noise_seed)


def begin_of(level: float, steps: int) -> int:
    """The step from which a share `level` of the steps is left."""
    fits = isinstance(level, numbers.Real) and not isinstance(level, bool) and 0 < level <= 1
    left = round(float(level) * steps) if fits else 0
    if left < 1:
        raise UserError(
            f"level is {describe(level)}; allowed: {1 / steps:g} to 1, the share of {steps} steps that are left (--level, "
            "--levels)"
        )
    return steps - left
