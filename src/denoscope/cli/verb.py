"""A verb: what it does, and which flags it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denoscope.config import Checked, Settings

if TYPE_CHECKING:
    from denoscope.models.denoiser import Denoiser
    from denoscope.noise.noise_set import NoiseSet

PLANE = "num_prompts_per_direction len_per_direction center_coords plane_base_seed:base_seed direction_seeds"
"""Fields of the default configuration that make a plane."""
MODEL = "model scheduler clip_sample dtype"
KEPT = "resume overwrite"
LEVELS = "Shares of the steps that are gone back; 0.1 to 1 in tenths, or in steps where there are fewer, unless set."


@dataclass(frozen=True)
class Verb:
    """One thing the command does.

    `flags` names, for each configuration (a field of Settings), the fields that become flags, as
    "field" or "field:flag"; `own` is a dataclass of flags that belong to this verb alone.
    """

    run: Callable[[Settings, Any], None]
    help: str
    flags: dict[str, str]
    own: type | None = None

    def fields(self) -> list[tuple[str, str, str]]:
        """(configuration, field, flag) of every flag that stands for a configuration's field."""
        triples = []
        for config, names in self.flags.items():
            for name in names.split():
                attribute, _, flag = name.partition(":")
                triples.append((config, attribute, flag or attribute))
        return triples


class OwnFlags(Checked):
    """Flags that belong to one verb alone; wrong values are refused as those of the configurations are."""

    @classmethod
    def _told(cls, name: str) -> str:
        return f"--{name}"


def load(settings: Settings) -> Denoiser:
    """The model that the flags name."""
    from denoscope.models import denoiser

    model = settings.model
    return denoiser.load(
        model.model,
        scheduler=model.scheduler,
        dtype=model.dtype,
        device=settings.system.device,
        clip_sample=model.clip_sample,
        config=model,
    )


def plane_of(settings: Settings, shape: tuple[int, int, int]) -> NoiseSet:
    """The plane of noises that the flags name."""
    from denoscope import noise

    default = settings.default
    return noise.plane(
        default.num_prompts_per_direction,
        shape,
        lengths=default.len_per_direction,
        center=default.center_coords,
        base_seed=default.plane_base_seed,
        direction_seeds=default.direction_seeds,
    )


def levels_of(steps: int) -> list[float]:
    """Shares of the steps, from one of them or a tenth to all."""
    count = min(steps, 10)
    return [(k + 1) / count for k in range(count)]
