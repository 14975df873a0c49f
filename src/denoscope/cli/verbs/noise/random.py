"""`denoscope noise random`."""

from __future__ import annotations

from denoscope.cli.from_settings import noise_shape
from denoscope.cli.noise_output import write
from denoscope.cli.verb import Verb
from denoscope.config import Settings


def run(settings: Settings, _flags: None) -> None:
    from denoscope import noise

    shape = noise_shape(settings)
    write(noise.random(settings.generation.num_samples, shape, seed=settings.system.seed), settings)


VERB = Verb(
    run,
    "Write independent random noises x_T.",
    {
        "system": "inputs seed",
        "inference": "overwrite",
        "generation": "num_samples image_size channels",
        "model": "model",
    },
    writes=("inputs",),
    script_overwrites=True,
)
