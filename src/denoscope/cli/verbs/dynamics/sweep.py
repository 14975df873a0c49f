"""`denoscope dynamics sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, Pictured, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import POSITIVE, Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class SweepFlags(Pictured):
    """Which recording's sizes of perturbations are compared."""

    path: Path = option(
        Path("run.zarr"), "A recording of sets with several epsilons around one base.", positional=True
    )
    tolerance: float = option(0.05, "By how much growth (ln) may differ on the plateau.", POSITIVE)
    output: Path = option(Path("sweep.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, own: SweepFlags) -> None:
    with own.reserved(settings.inference, reads=[own.path]):
        from denoscope import dynamics, figures
        from denoscope.recording import opening

        rec = opening.open(own.path)
        separations = dynamics.divergence(rec, layers=[])
        result = dynamics.epsilon_sweep(separations, tolerance=own.tolerance)
    write_measured(own.output, rec.origin, result.to_dict())
    own.draw(figures.draw_sweep, result)
    for epsilon, growth, (low, high), usable, linear in zip(
        result.epsilons, result.growth, result.spread, result.usable, result.linear, strict=True
    ):
        note = "linear" if linear else "" if usable else "below the noise floor"
        print(f"epsilon {epsilon:<8g} growth {growth:6.2f}  [{low:.2f}, {high:.2f}]  {note}".rstrip())
    warn(result.warnings)
    own.print_paths()


VERB = Verb(
    run,
    "Find the sizes of a perturbation over which it grows as the derivative says.",
    ARRAYS,
    SweepFlags,
)
