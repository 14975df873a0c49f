"""`denoscope dynamics orbit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.closed_loops import OneLoopFlags, loops
from denoscope.cli.flag_groups import LOOP
from denoscope.cli.output import JSON, NPZ, CheckpointFlags, PictureFlags, warn, write_json
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import torch

    from denoscope.dynamics.result import Estimate


@dataclass(frozen=True)
class OrbitFlags(OneLoopFlags, CheckpointFlags, PictureFlags):
    """How the orbit is measured, and where it is written."""

    theiler: int = option(
        10,
        "Theiler window: states closer in time than this many iterations do not count as neighbours.",
        at_least(0),
    )
    output: Path = option(Path("orbit.json"), "Output file: the measures of the orbit.", JSON)
    checkpoint: Path = option(
        Path("orbit.npz"), "File of the orbit's states, from which --resume continues.", NPZ
    )


@dataclass(frozen=True)
class Measure:
    """One measure of an orbit: its name, how to compute it, and its result in words."""

    name: str
    compute: Callable[[], Any]
    in_words: Callable[[Any], str]


def run(settings: Settings, flags: OrbitFlags) -> None:
    with flags.checkpointed(
        settings.inference, "closed loop", unit="iteration", saved=flags.checkpoint
    ) as checkpoint:
        from denoscope import dynamics, figures

        loop_at, x_0 = loops(settings, flags, [flags.level], checkpoint.streams)
        loop = loop_at[flags.level]
        states = dynamics.orbit(
            loop, x_0, iterations=flags.iterations, discard=flags.discard, checkpoint=checkpoint
        ).cpu()
    flags.draw(figures.draw_orbit, states)
    results = {"computed_from": loop.origin}
    for measure in _measures(states, flags.theiler, settings.system.seed):
        try:
            result = measure.compute()
        except UserError as error:  # an orbit may be too short for it, or constant
            print(f"{measure.name}: not measured, {error}")
            continue
        print(f"{measure.name}: {measure.in_words(result)}")
        warn(f"{measure.name}: {warning}" for warning in result.warnings)
        results[measure.name] = result.to_dict()
    write_json(flags.output, results)
    flags.print_paths()


def _measures(states: torch.Tensor, theiler: int, seed: int) -> list[Measure]:
    """The measures of an orbit with these states [iteration, C, H, W]."""
    from denoscope import dynamics

    return [
        Measure(
            "period",
            lambda: dynamics.periodicity(states, longest=max(1, min(64, len(states) // 3))),
            lambda result: f"{result.period or f'none of up to {len(result.returns)}'} iterations",
        ),
        Measure(
            "0-1 test of the mean pixel",
            lambda: dynamics.zero_one(states.flatten(1).double().mean(1), seed=seed),
            lambda result: f"K {_with_interval(result)}",
        ),
        Measure(
            "correlation dimension",
            lambda: dynamics.correlation_dimension(states, theiler=theiler),
            lambda result: f"{_with_interval(result)}, at most {result.bound:.2f} can be shown",
        ),
        Measure(
            "recurrence",
            lambda: dynamics.recurrence(states, theiler=theiler),
            lambda result: f"determinism {result.determinism:.3f}, laminarity {result.laminarity:.3f}",
        ),
    ]


def _with_interval(result: Estimate) -> str:
    low, high = result.interval or (math.nan, math.nan)
    return f"{result.value:.3f}  [{low:.3f}, {high:.3f}]"


VERB = Verb(
    run,
    "Measure whether noising and denoising an image again and again settles, recurs or wanders.",
    LOOP,
    OrbitFlags,
    arguments={"noise": "loop_noise"},
)
