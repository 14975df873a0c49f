"""`denoscope dynamics orbit_diagram`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.closed_loops import LEVELS_HELP, LoopFlags, default_levels, loops
from denoscope.cli.flag_groups import LOOP
from denoscope.cli.output import JSON, NPZ, CheckpointFlags, PictureFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class DiagramFlags(LoopFlags, CheckpointFlags, PictureFlags):
    """Which closed loops are iterated, and how long."""

    levels: tuple[float, ...] = option((), LEVELS_HELP)
    iterations: int = option(100, "Iterations that are shown.", at_least(2))
    output: Path = option(Path("orbit_diagram.json"), "Output file: the values along each orbit.", JSON)
    checkpoint: Path = option(
        Path("orbit_diagram.npz"), "File of the finished levels, from which --resume continues.", NPZ
    )


def run(settings: Settings, flags: DiagramFlags) -> None:
    inference = settings.inference
    with flags.checkpointed(
        inference, "closed loops", unit="iteration", saved=flags.checkpoint
    ) as checkpoint:
        from denoscope import dynamics, figures

        levels = flags.levels or default_levels(inference.num_steps)
        loop_of, x_0 = loops(settings, flags, levels, checkpoint.streams)
        result = dynamics.orbit_diagram(
            loop_of.__getitem__,
            list(loop_of),
            x_0,
            iterations=flags.iterations,
            discard=flags.discard,
            checkpoint=checkpoint,
        )
    begins = {str(level): loop.begin for level, loop in loop_of.items()}
    provenance = {**loop_of[max(loop_of)].origin, "begin": begins}
    write_json(flags.output, {"computed_from": provenance, **result.to_dict()})
    flags.draw(
        lambda ax, result: figures.draw_orbit_diagram(ax, result).set(xlabel="level", ylabel="mean pixel"),
        result,
    )
    for level, values in zip(loop_of, result.values, strict=True):
        span = f"mean pixel {values.min():+.6f} to {values.max():+.6f}"
        print(f"level {level:<5g} {span if math.isfinite(values[0]) else 'diverged'}")
    warn(result.warnings)
    flags.print_paths()


VERB = Verb(
    run,
    "Record the values of the mean pixel along closed loops, level by level.",
    LOOP,
    DiagramFlags,
    arguments={"noise": "loop_noise", "level": "levels"},
)
