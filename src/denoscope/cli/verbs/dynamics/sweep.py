"""`denoscope dynamics sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import JSON, PictureFlags, warn, write_measured
from denoscope.cli.verb import Verb
from denoscope.config import POSITIVE, Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class SweepFlags(PictureFlags):
    """Which recording's sizes of perturbations are compared."""

    path: Path = option(
        Path("run.zarr"),
        "A recording of sets with several epsilons around one base.",
        positional=True,
        takes_url=True,
    )
    tolerance: float = option(0.05, "By how much growth (ln) may differ on the plateau.", POSITIVE)
    output: Path = option(Path("sweep.json"), "Output file: the numbers and their provenance.", JSON)


def run(settings: Settings, flags: SweepFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        from denoscope import dynamics, figures
        from denoscope.recording import opening

        rec = opening.open(flags.path)
        separations = dynamics.divergence(rec, layers=[])
        result = dynamics.epsilon_sweep(separations, tolerance=flags.tolerance)
    write_measured(flags.output, rec.origin, result.to_dict())
    flags.draw(figures.draw_sweep, result)
    for epsilon, growth, (low, high), usable, linear in zip(
        result.epsilons, result.growth, result.spread, result.usable, result.linear, strict=True
    ):
        note = "linear" if linear else "" if usable else "below the noise floor"
        print(f"epsilon {epsilon:<8g} growth {growth:6.2f}  [{low:.2f}, {high:.2f}]  {note}".rstrip())
    warn(result.warnings)
    flags.print_paths()


VERB = Verb(
    run,
    "Find the sizes of perturbations whose growth agrees with the derivative.",
    ARRAYS,
    SweepFlags,
)
