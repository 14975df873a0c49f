"""`denoscope dynamics distances`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from denoscope.cli.finished import open_with_sequences
from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, PictureFlags, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError


@dataclass(frozen=True)
class DistancesFlags(PictureFlags):
    """Which recording's trajectories are compared, and by which distance."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True, takes_url=True)
    metric: Literal["euclidean", "cosine", "dtw", "frechet", "hausdorff"] = option(
        "euclidean", "The distance between two trajectories."
    )
    output: Path = option(Path("distances.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, flags: DistancesFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        from denoscope import dynamics, figures

        rec = open_with_sequences(flags.path)
        if len(rec.sequence) < 2:
            raise UserError(f"{flags.path} holds one sample; allowed: two or more, to be compared")
        result = dynamics.trajectory_distances(rec.sequence, metric=flags.metric)
    write_measured(flags.output, rec.origin, result.to_dict())
    flags.draw(figures.draw_distances, result)
    names = result.samples
    for row, name in enumerate(names):
        others = result.values[row].copy()
        others[row] = math.inf
        nearest = int(others.argmin())
        print(f"{name}  nearest {names[nearest]}: {others[nearest]:.4g} ({flags.metric})")
    warn(result.warnings)
    flags.print_paths()


VERB = Verb(
    run,
    "Measure how far the trajectories of a recording are from each other, by one of five distances.",
    ARRAYS,
    DistancesFlags,
)
