"""The settings of a denoising loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation import random_streams
from denoscope.foundation.validation import parse_integer
from denoscope.interventions.applied import NO_INTERVENTIONS, Applied
from denoscope.interventions.site import Run
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.schedulers import Scheduler
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.rounding import rounding_warnings
from denoscope.sampling.image_start import ImageStart

NoiseKind = Literal["common", "independent"]
"""Whether a stochastic scheduler draws its noise once a step for all samples, or for each sample."""
SamplerDtype = Literal["auto", "float32", "float64"]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything about a denoising loop, beside the denoiser and x_T, that decides its bits."""

    steps: int = InferenceConfig.num_steps
    noise: NoiseKind = InferenceConfig.noise
    noise_seed: int = SystemConfig.seed
    lanes: int = InferenceConfig.lanes
    sampler_dtype: SamplerDtype = InferenceConfig.sampler_dtype
    tf32: bool = InferenceConfig.tf32
    timesteps: Sequence[float] = InferenceConfig.timesteps
    sigmas: Sequence[float] = InferenceConfig.sigmas
    streams: int = random_streams.STREAMS_VERSION
    """The version of the random streams that noise is drawn from."""
    start: ImageStart | None = None
    """The image with which the loop begins; None begins with x_T alone."""

    def __post_init__(self) -> None:
        parse_integer(self.steps, "steps", minimum=1)
        parse_integer(self.noise_seed, "noise_seed")
        random_streams.check_version(self.streams)
        checked = InferenceConfig.from_arguments(
            num_steps=self.steps,
            noise=self.noise,
            lanes=self.lanes,
            sampler_dtype=self.sampler_dtype,
            tf32=self.tf32,
            timesteps=self.timesteps,
            sigmas=self.sigmas,
        )
        object.__setattr__(self, "steps", checked.num_steps)
        object.__setattr__(self, "timesteps", checked.timesteps)
        object.__setattr__(self, "sigmas", checked.sigmas)

    @classmethod
    def of(
        cls,
        options: InferenceConfig,
        noise_seed: int,
        *,
        streams: int = random_streams.STREAMS_VERSION,
        start: ImageStart | None = None,
    ) -> Loop:
        """The loop of these options."""
        return cls(
            steps=options.num_steps,
            noise=options.noise,
            noise_seed=noise_seed,
            lanes=options.lanes,
            sampler_dtype=options.sampler_dtype,
            tf32=options.tf32,
            timesteps=options.timesteps,
            sigmas=options.sigmas,
            streams=streams,
            start=start,
        )

    @property
    def first_step(self) -> int:
        """The step with which the loop begins."""
        return self.start.step if self.start else 0

    def scheduler(self, denoiser: Denoiser) -> Scheduler:
        """A copy of the denoiser's scheduler, set for this loop."""
        return denoiser.new_scheduler(
            self.steps, dtype=self.state_dtype(denoiser), timesteps=self.timesteps, sigmas=self.sigmas
        )

    def applied(
        self, denoiser: Denoiser, interventions: Sequence[Intervention], condition: Condition
    ) -> Applied:
        """The interventions prepared for this loop.

        Raises: UserError if one of them does not fit.
        """
        if not interventions:
            return NO_INTERVENTIONS
        return Applied.prepared(interventions, self.run(denoiser, condition), condition)

    def run(self, denoiser: Denoiser, condition: Condition) -> Run:
        """The part of a run by this loop that decides what interventions write."""
        return Run.of(
            denoiser,
            condition,
            scheduler=self.scheduler(denoiser),
            steps=self.steps,
            noise=self.noise,
            noise_seed=self.noise_seed,
            streams=self.streams,
        )

    def state_dtype(self, denoiser: Denoiser) -> torch.dtype:
        """The precision of the states between steps."""
        return self._precision_over(denoiser.dtype)

    def rounding_warnings(self, denoiser: Denoiser, x: NoiseSet) -> list[str]:
        """One line if noises that differ become equal in the precision of the states, with the remedy."""
        own = denoiser.dtype
        precision = self._precision_over(own)
        return rounding_warnings(x, precision, "dtype" if precision == own else "sampler_dtype")

    def _precision_over(self, own: torch.dtype) -> torch.dtype:
        """The precision of the states of a network that computes in its `own`, which is slow to look up."""
        return {"auto": own, "float32": torch.float32, "float64": torch.float64}[self.sampler_dtype]

    def rows_of_whole_calls(self, rows: int) -> int:
        """A number of rows, rounded up to whole calls of the network."""
        return -(-rows // self.lanes) * self.lanes

    def generators(self, index: int, names: Sequence[str]) -> list[torch.Generator]:
        """The generators of a stochastic scheduler's noise at entry `index` of its timesteps, one for each row.

        No row depends on another. Rows beyond the samples `names` are padding and repeat the last one.
        """
        padded = [*names, *[names[-1]] * (self.lanes - len(names))]
        if self.noise == "common":
            padded = [""] * self.lanes
        streams = {
            name: random_streams.stream("step noise", self.noise_seed, index, name=name, version=self.streams)
            for name in dict.fromkeys(padded)
        }
        return [streams[name].clone_state() for name in padded]
