"""Noising and denoising as one map from images to images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from denoscope.config import InferenceConfig
from denoscope.dynamics.loops.iterated_map import Map
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.origin import origin_of
from denoscope.foundation import html_repr, random_streams
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.foundation.validation import parse_choice
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.sampling.image_start import first_step_of
from denoscope.sampling.settings import Loop


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """The map x ← denoise(x with noise of a level), from finite images [C, H, W] or [n, C, H, W] to such images.

    It is differentiable. With "fixed" noise it is one map. With "common" noise it is a different map at every iteration,
    `at(iteration)`, the same for all images: a random dynamical system.
    """

    flow: DenoisingMap = field(repr=False)
    begin: int
    noise: Literal["fixed", "common"]
    noise_seed: int

    @property
    def origin(self) -> dict[str, Any]:
        """Everything that determines its orbits, for the origin of their measures."""
        return origin_of(
            self.flow,
            {"begin": self.begin, "loop_noise": self.noise, "loop_noise_seed": self.noise_seed},
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The next image of x, with the noise of iteration 0."""
        return self._next(x, 0)

    def _repr_html_(self) -> str:
        rows = {
            "denoiser": self.flow.denoiser.name,
            "shape": list(self.flow.denoiser.shape),
            "steps": f"{self.begin} to {self.flow.steps - 1} of {self.flow.steps}",
            "noise": self.noise,
            "noise_seed": self.noise_seed,
        }
        return html_repr.table("ClosedLoop", rows)

    def at(self, iteration: int) -> Map:
        """The map of an iteration, counted from 0."""
        return lambda x: self._next(x, iteration if self.noise == "common" else 0)

    def noised(self, x: torch.Tensor, iteration: int = 0) -> torch.Tensor:
        """The states [n, C, H, W] from which denoising starts, for images [n, C, H, W] or [C, H, W].

        They are √ᾱ x + √(1−ᾱ) ε, or what else the scheduler's `add_noise` makes of x and ε at the level, with the same ε for
        all images: the noise of the iteration.

        >>> noised = closed_loop(denoiser, level=0.5).noised(image)
        >>> plane = ds.noise.plane_through(noised, x.tensor(0), x.tensor(1))

        Source: Ho, Jain and Abbeel, NeurIPS 2020, eq. 4.
        """
        x = self._rows(x)
        draw = random_streams.generator("closed loop", self.noise_seed, iteration)
        noise = torch.randn(x.shape[1:], generator=draw).to(x).expand_as(x)
        return self.flow.noised(x, noise, self.begin)

    def _next(self, x: torch.Tensor, iteration: int) -> torch.Tensor:
        noised = self.noised(x, iteration)
        return self.flow.from_step(self.begin, noised).to(x.dtype).reshape(x.shape)

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        """The images as [n, C, H, W], if they fit the denoiser and are finite."""
        rows = x[None] if isinstance(x, torch.Tensor) and x.ndim == 3 else x
        self.flow.denoiser.check_states(rows, "x")
        if not rows.isfinite().all():
            raise UserError(
                "x holds NaN or Inf; allowed: finite images, or a level at which they stay finite"
            )
        return rows


@accepts_num_steps
@arguments_checked
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
    """The map that adds noise to an image up to a level and denoises it, for `lyapunov`, `orbit` and related measures.

    >>> loop = closed_loop(denoiser, level=0.5)
    >>> lyapunov(loop, x_0.double(), iterations=2000, k=2)

    Args:
        level: the share of the steps that denoising takes, rounded to a whole step: 1 adds noise up to the highest level
            of the schedule, 0.5 leaves half of the `steps`.
        noise: "fixed", one draw for all iterations; or "common", one draw per iteration, the same for all images.
        noise_seed: of that noise, and of the noise that a stochastic scheduler adds in its steps, which is the same in
            every iteration.
        lanes: rows of every network call; 1 suits the orbit of a single image, more are faster for several at once.
        streams: the version of the random streams of a stochastic scheduler's noise; 1 to resume a checkpoint that
            denoscope 0.1 began.

    Raises: UserError if the level leaves no step, or the scheduler uses earlier steps.
    """
    parse_choice(noise, "noise", ("fixed", "common"))
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=streams)
    flow = DenoisingMap(denoiser, loop, condition)
    flow.check_single_steps()
    return ClosedLoop(flow, first_step_of(level, steps), noise, noise_seed)
