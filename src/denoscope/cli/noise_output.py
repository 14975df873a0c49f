"""The output of the `denoscope noise …` commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denoscope.cli.output import warn
from denoscope.config import Settings
from denoscope.foundation.spelling import counted

if TYPE_CHECKING:
    from denoscope.noise.noise_set import NoiseSet


def write(x: NoiseSet, settings: Settings) -> None:
    """Write the noises to the folder `inputs`, and print what was written."""
    folder = settings.system.inputs
    x.write(folder, overwrite=settings.inference.overwrite)
    warn(x.warnings)
    shape = ", ".join(map(str, x.shape))
    names = " … ".join(dict.fromkeys(f"{name}.pt" for name in (x.names[0], x.names[-1])))
    print(f"{counted(len(x), 'tensor')} [1, {shape}] in {folder}: {names}")
