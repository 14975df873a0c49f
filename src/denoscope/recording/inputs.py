"""The inputs of a recorded run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from denoscope.hooks.module_survey import Layer
from denoscope.interventions.applied import Applied
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.sampling.settings import Loop


@dataclass(frozen=True, kw_only=True, eq=False)
class RunInputs:
    """A denoiser, its noises, the loop between them, and the layers that are tapped."""

    denoiser: Denoiser
    x: NoiseSet
    loop: Loop
    condition: Condition
    applied: Applied
    layers: Sequence[Layer]

    @property
    def addresses(self) -> list[str]:
        """The addresses of the layers."""
        return [layer.address for layer in self.layers]
