"""`denoscope dynamics divergence`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import NPZ, Pictured, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class DivergenceFlags(Pictured):
    """Which recording's pairs are compared."""

    path: Path = option(Path("run.zarr"), "A recording of perturbed noises.", positional=True)
    threshold: float = option(2.0, "A pair counts as diverged from this multiple of x_T's separation on.")
    output: Path = option(Path("divergence.npz"), "Output file: separations, growth and survival.", NPZ)


def run(settings: Settings, own: DivergenceFlags) -> None:
    with own.reserved(settings.inference, reads=[own.path]):
        import torch

        from denoscope import dynamics, figures
        from denoscope.foundation import checkpoint
        from denoscope.recording import opening

        result = dynamics.divergence(opening.open(own.path), threshold=own.threshold)
    checkpoint.write(result.assign_attrs(threads=torch.get_num_threads()), own.output)
    own.draw(figures.draw_divergence, result)
    for pair, rate, first in zip(
        result["sample"].values, result["growth_rate"].values, result["diverged_at"].values, strict=True
    ):
        outcome = f"diverged at state {first}" if first >= 0 else "not diverged"
        print(f"{pair}  growth {rate:+.4f} per step, {outcome}")
    warn(result.attrs["warnings"])
    own.print_paths()


VERB = Verb(
    run,
    "Measure how perturbed trajectories of a recording leave their base, in x_t and in every layer.",
    ARRAYS,
    DivergenceFlags,
)
