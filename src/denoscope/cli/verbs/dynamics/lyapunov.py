"""`denoscope dynamics lyapunov`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.closed_loops import OneLoopFlags, loops
from denoscope.cli.flag_groups import LOOP
from denoscope.cli.output import JSON, NPZ, CheckpointFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class LyapunovFlags(OneLoopFlags, CheckpointFlags):
    """How many exponents of which closed loop are computed."""

    k: int = option(2, "How many of the largest exponents.", at_least(1))
    output: Path = option(Path("lyapunov.json"), "Output file: the exponents and their provenance.", JSON)
    checkpoint: Path = option(
        Path("lyapunov.npz"), "File of the orbit so far, from which --resume continues.", NPZ
    )


def run(settings: Settings, flags: LyapunovFlags) -> None:
    with flags.checkpointed(
        settings.inference, "closed loop", unit="iteration", saved=flags.checkpoint
    ) as checkpoint:
        from denoscope import dynamics

        loop_at, x_0 = loops(settings, flags, [flags.level], checkpoint.streams)
        result = dynamics.lyapunov(
            loop_at[flags.level],
            x_0,
            iterations=flags.iterations,
            k=flags.k,
            discard=flags.discard,
            checkpoint=checkpoint,
        )
    for number, (value, (low, high)) in enumerate(zip(result.exponents, result.intervals, strict=True), 1):
        interval = "no interval" if math.isnan(low) else f"[{low:+.4f}, {high:+.4f}]"
        print(f"exponent {number}: {value:+.4f} per iteration  {interval}")
    warn(result.warnings)
    write_json(flags.output, result.to_dict())
    print(flags.output)


VERB = Verb(
    run,
    "Compute asymptotic Lyapunov exponents of noising and denoising an image again and again.",
    LOOP,
    LyapunovFlags,
    arguments={"noise": "loop_noise"},
)
