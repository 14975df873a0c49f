"""`denoscope noise plane`."""

from __future__ import annotations

from denoscope.cli.flag_groups import PLANE, SHAPE
from denoscope.cli.from_settings import noise_shape, plane_of
from denoscope.cli.noise_output import write
from denoscope.cli.verb import Verb
from denoscope.config import PLANE_ARGUMENTS, Settings


def run(settings: Settings, _flags: None) -> None:
    write(plane_of(settings, noise_shape(settings)), settings)


VERB = Verb(
    run,
    "Write a 2-D plane of noises.",
    {"system": "inputs", "inference": "overwrite", **SHAPE, "default": PLANE},
    arguments=PLANE_ARGUMENTS,
    writes=("inputs",),
    script_overwrites=True,
)
