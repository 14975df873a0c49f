"""`denoscope dynamics orbit_diagram`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.closed_loops import LEVELS, LoopFlags, default_levels, loops
from denoscope.cli.flag_groups import LOOP
from denoscope.cli.output import JSON, NPZ, Checkpointed, Pictured, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option


@dataclass(frozen=True)
class DiagramFlags(LoopFlags, Checkpointed, Pictured):
    """Which closed loops are iterated, and how long."""

    levels: tuple[float, ...] = option((), LEVELS)
    iterations: int = option(100, "Iterations that are shown.", at_least(2))
    output: Path = option(Path("orbit_diagram.json"), "Output file: the values along each orbit.", JSON)
    checkpoint: Path = option(
        Path("orbit_diagram.npz"), "File of the finished levels, from which --resume continues.", NPZ
    )


def run(settings: Settings, own: DiagramFlags) -> None:
    inference = settings.inference
    with own.working(inference, "closed loops", unit="iteration", saved=own.checkpoint) as checkpoint:
        from denoscope import dynamics, figures

        loop_at, x_0 = loops(settings, own, checkpoint.streams)
        # All before the first is iterated, so that an invalid level is refused at once.
        at_level = {level: loop_at(level) for level in own.levels or default_levels(inference.num_steps)}
        result = dynamics.orbit_diagram(
            at_level.__getitem__,
            list(at_level),
            x_0,
            iterations=own.iterations,
            discard=own.discard,
            checkpoint=checkpoint,
        )
    begins = {str(level): loop.begin for level, loop in at_level.items()}
    provenance = {**at_level[max(at_level)].origin, "begin": begins}
    write_json(own.output, {"computed_from": provenance, **result.to_dict()})
    own.draw(
        lambda ax, result: figures.draw_orbit_diagram(ax, result).set(xlabel="level", ylabel="mean pixel"),
        result,
    )
    for level, values in zip(at_level, result.values, strict=True):
        span = f"mean pixel {values.min():+.6f} to {values.max():+.6f}"
        print(f"level {level:<5g} {span if math.isfinite(values[0]) else 'diverged'}")
    warn(result.warnings)
    own.print_paths()


VERB = Verb(
    run,
    "Record the values of the mean pixel along closed loops, level by level.",
    LOOP,
    DiagramFlags,
    arguments={"noise": "loop_noise", "level": "levels"},
)
