"""`denoscope dynamics distances`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from denoscope.cli.finished import with_sequences
from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, Pictured, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError


@dataclass(frozen=True)
class DistancesFlags(Pictured):
    """Which recording's trajectories are compared, and by which distance."""

    path: Path = option(Path("run.zarr"), "A recording with sequences.", positional=True)
    metric: Literal["euclidean", "cosine", "dtw", "frechet", "hausdorff"] = option(
        "euclidean", "The distance between two trajectories."
    )
    output: Path = option(Path("distances.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, own: DistancesFlags) -> None:
    with own.reserved(settings.inference, reads=[own.path]):
        from denoscope import dynamics, figures

        rec = with_sequences(own.path)
        if len(rec.sequence) < 2:
            raise UserError(f"{own.path} holds one sample; allowed: two or more, to be compared")
        result = dynamics.trajectory_distances(rec.sequence.to_numpy(), metric=own.metric)
    names = [str(name) for name in rec.sequence["sample"].to_numpy()]
    write_measured(own.output, rec.origin, {"samples": names, **result.to_dict()})
    own.draw(figures.draw_distances, result)
    for row, name in enumerate(names):
        others = result.values[row].copy()
        others[row] = math.inf
        nearest = int(others.argmin())
        print(f"{name}  nearest {names[nearest]}: {others[nearest]:.4g} ({own.metric})")
    warn(result.warnings)
    own.print_paths()


VERB = Verb(
    run,
    "Measure how far the trajectories of a recording are from each other, by one of five distances.",
    ARRAYS,
    DistancesFlags,
)
