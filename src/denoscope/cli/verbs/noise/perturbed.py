"""`denoscope noise perturbed`."""

from __future__ import annotations

from denoscope.cli.flag_groups import SHAPE
from denoscope.cli.from_settings import noise_shape
from denoscope.cli.noise_output import write
from denoscope.cli.verb import Verb
from denoscope.config import Settings


def run(settings: Settings, _flags: None) -> None:
    from denoscope import noise

    default = settings.default
    x = noise.perturbed(
        default.num_perturbations,
        noise_shape(settings),
        epsilon=default.epsilon,
        base_seed=default.base_seed,
        perturb_seed=default.perturb_seed,
        directions=default.directions,
    )
    write(x, settings)


VERB = Verb(
    run,
    "Write a base noise and small perturbations of it.",
    {
        "system": "inputs",
        "inference": "overwrite",
        **SHAPE,
        "default": "num_perturbations epsilon base_seed perturb_seed directions",
    },
    writes=("inputs",),
    script_overwrites=True,
)
