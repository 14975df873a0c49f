"""`denoscope dynamics local_expansion`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import CONDITION, MODEL
from denoscope.cli.from_settings import first_noise, load_with_condition
from denoscope.cli.output import JSON, PictureFlags, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class ExpansionFlags(PictureFlags):
    """Along how many directions each step is measured."""

    k: int = option(8, "How many directions are carried along.", at_least(1))
    output: Path = option(Path("local_expansion.json"), "Output file: the rates and their provenance.", JSON)


def run(settings: Settings, flags: ExpansionFlags) -> None:
    inference = settings.inference
    with flags.reserved(inference):
        from denoscope import dynamics, figures
        from denoscope.cli import progress
        from denoscope.dynamics.sensitivity.denoising_map import parse_k

        x_T = first_noise(settings)
        parse_k(flags.k, x_T.numel())
        denoiser, condition = load_with_condition(settings)
        with progress.Counter("local expansion", unit="step") as counter:
            result = dynamics.local_expansion(
                denoiser,
                x_T,
                flags.k,
                steps=inference.num_steps,
                noise=inference.noise,
                noise_seed=settings.system.seed,
                condition=condition,
                progress=counter,
            )
    write_json(flags.output, result.to_dict())
    flags.draw(figures.draw_expansion, result)
    for step, rates in enumerate(result.rates):
        print(f"step {step:>4}  " + "  ".join(f"{rate:+7.3f}" for rate in rates))
    flags.print_paths()


VERB = Verb(
    run,
    "Measure how much each step stretches a frame of directions carried along from the first noise.",
    {
        "system": "inputs device threads seed",
        "model": MODEL,
        "inference": f"num_steps {CONDITION} noise overwrite",
    },
    ExpansionFlags,
)
