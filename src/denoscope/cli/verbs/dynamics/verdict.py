"""`denoscope dynamics verdict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.label_file import LabelFlags, read_plane
from denoscope.cli.output import JSON, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class VerdictFlags(LabelFlags):
    """Where the verdict is written."""

    output: Path = option(Path("verdict.json"), "Output file: the verdict and the numbers behind it.", JSON)


def run(settings: Settings, flags: VerdictFlags) -> None:
    with flags.reserved(settings.inference):
        from denoscope import dynamics

        labels, provenance = read_plane(flags.path)
        result = dynamics.verdict(labels)
    write_measured(flags.output, provenance, result.to_dict())
    sides = result.dimension.fit.sides
    print(result)
    print(
        f"boundary dimension {result.dimension.value:.3f} over {sides[0]:g} to {sides[-1]:g} spacings between cells, "
        f"disorder of neighbouring cells {result.disorder:.2f}"
    )
    warn(result.warnings)
    print(flags.output)


VERB = Verb(
    run,
    "Decide whether a plane of classes shows a fractal boundary, a smooth one, or noise.",
    ARRAYS,
    VerdictFlags,
)
