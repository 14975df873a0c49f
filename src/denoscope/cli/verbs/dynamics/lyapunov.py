"""`denoscope dynamics lyapunov`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.closed_loops import OneLoopFlags, loops
from denoscope.cli.flag_groups import LOOP
from denoscope.cli.output import JSON, NPZ, Checkpointed, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class LyapunovFlags(OneLoopFlags, Checkpointed):
    """How many exponents of which closed loop are computed."""

    k: int = option(2, "How many exponents, the largest.", at_least(1))
    output: Path = option(Path("lyapunov.json"), "Output file: the exponents and their provenance.", JSON)
    checkpoint: Path = option(
        Path("lyapunov.npz"), "File of the orbit so far, from which --resume continues.", NPZ
    )


def run(settings: Settings, own: LyapunovFlags) -> None:
    with own.working(settings.inference, "closed loop", unit="iteration", saved=own.checkpoint) as checkpoint:
        from denoscope import dynamics

        loop_at, x_0 = loops(settings, own, checkpoint.streams)
        result = dynamics.lyapunov(
            loop_at(own.level),
            x_0,
            iterations=own.iterations,
            k=own.k,
            discard=own.discard,
            checkpoint=checkpoint,
        )
    for number, (value, (low, high)) in enumerate(zip(result.exponents, result.intervals, strict=True), 1):
        print(f"exponent {number}: {value:+.4f} per iteration  [{low:+.4f}, {high:+.4f}]")
    warn(result.warnings)
    write_json(own.output, result.to_dict())
    print(own.output)


VERB = Verb(
    run,
    "Compute asymptotic Lyapunov exponents of noising and denoising an image again and again.",
    LOOP,
    LyapunovFlags,
    arguments={"noise": "loop_noise"},
)
