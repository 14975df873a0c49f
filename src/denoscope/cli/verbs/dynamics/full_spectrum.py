"""`denoscope dynamics full_spectrum`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import SPECTRUM
from denoscope.cli.from_settings import first_noise, load_with_condition, workers_of
from denoscope.cli.output import JSON, NPZ, CheckpointFlags, PictureFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class FullSpectrumFlags(CheckpointFlags, PictureFlags):
    """Where the exponents and the product of the steps' Jacobians are written."""

    output: Path = option(
        Path("full_spectrum.json"), "Output file: the exponents and their provenance.", JSON
    )
    checkpoint: Path = option(
        Path("full_spectrum.npz"),
        "File of the product of the steps so far, from which --resume continues.",
        NPZ,
    )


def run(settings: Settings, flags: FullSpectrumFlags) -> None:
    inference = settings.inference
    with flags.checkpointed(inference, "full spectrum", unit="step", saved=flags.checkpoint) as checkpoint:
        from denoscope import dynamics, figures

        x_T = first_noise(settings)
        denoiser, condition = load_with_condition(settings)
        with workers_of(settings) as client:
            result = dynamics.full_spectrum(
                denoiser,
                x_T,
                steps=inference.num_steps,
                noise=inference.noise,
                noise_seed=settings.system.seed,
                condition=condition,
                checkpoint=checkpoint,
                cluster=client,
                allow_different_devices=settings.system.allow_different_devices,
            )
    write_json(flags.output, result.to_dict())
    flags.draw(figures.draw_exponents, {type(denoiser.scheduler).__name__: result.exponents})
    values = result.exponents
    print(f"{len(values)} exponents, {(values > 0).sum()} above 0, {values[0]:.3f} to {values[-1]:.3f}")
    print(f"sum {values.sum():.10g}, ln|det| {result.log_det:.10g}")
    print(f"Kaplan–Yorke dimension {dynamics.kaplan_yorke(values).value:.2f}")
    warn(result.warnings)
    flags.print_paths()


VERB = Verb(
    run,
    "Compute all finite-time Lyapunov exponents of the whole map x_T → x_0, of the first noise.",
    SPECTRUM,
    FullSpectrumFlags,
)
