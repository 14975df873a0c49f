"""`denoscope dynamics divergence`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS, CLUSTER
from denoscope.cli.from_settings import workers_of
from denoscope.cli.output import NPZ, PictureFlags, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class DivergenceFlags(PictureFlags):
    """Which recording's pairs are compared."""

    path: Path = option(Path("run.zarr"), "A recording of perturbed noises.", positional=True, takes_url=True)
    threshold: float = option(2.0, "A pair counts as diverged from this multiple of x_T's separation on.")
    output: Path = option(Path("divergence.npz"), "Output file: separations, growth and survival.", NPZ)


def run(settings: Settings, flags: DivergenceFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        import torch

        from denoscope import dynamics, figures
        from denoscope.foundation.writing import result_files
        from denoscope.recording import opening

        recording = opening.open(flags.path)
        with workers_of(settings) as client:
            result = dynamics.divergence(
                recording,
                threshold=flags.threshold,
                cluster=client,
                allow_different_devices=settings.system.allow_different_devices,
            )
    result_files.write(result.assign_attrs(threads=torch.get_num_threads()), flags.output)
    flags.draw(figures.draw_divergence, result)
    for pair, rate, first in zip(
        result["sample"].values, result["growth_rate"].values, result["diverged_at"].values, strict=True
    ):
        outcome = f"diverged at state {first}" if first >= 0 else "not diverged"
        print(f"{pair}  growth {rate:+.4f} per step, {outcome}")
    warn(result.attrs["warnings"])
    flags.print_paths()


VERB = Verb(
    run,
    "Measure how perturbed trajectories of a recording leave their base, in x_t and in every layer.",
    {**ARRAYS, "system": f"threads {CLUSTER}"},
    DivergenceFlags,
)
