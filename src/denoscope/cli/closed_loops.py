"""The closed loops that flags describe: an image is noised part of the way and denoised, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from denoscope.cli.from_settings import first_noise, load_with_condition
from denoscope.cli.verb import OwnFlags
from denoscope.config import POSITIVE, Settings
from denoscope.foundation.checked import at_least, option

if TYPE_CHECKING:
    import torch

    from denoscope.dynamics.loops.closed_loop import ClosedLoop

LEVELS_HELP = (
    "Levels as shares of the steps; by default 0.1 to 1 in tenths, or every step if there are fewer than ten."
)


@dataclass(frozen=True)
class LoopFlags(OwnFlags):
    """How long closed loops are iterated, and with which noise."""

    iterations: int = option(1000, "Iterations that are measured.", at_least(2))
    discard: int = option(100, "Iterations before these, for the transient.", at_least(0))
    loop_noise: Literal["fixed", "common"] = option(
        "fixed", "fixed: one draw for all iterations; common: one draw for each."
    )


@dataclass(frozen=True)
class OneLoopFlags(LoopFlags):
    """Which closed loop is iterated, and how long."""

    level: float = option(0.5, "How far back each iteration noises, as a share of the steps.", POSITIVE)


def loops(
    settings: Settings, flags: LoopFlags, levels: Sequence[float], streams: int
) -> tuple[dict[float, ClosedLoop], torch.Tensor]:
    """The loop at each level, and the image [C, H, W] from which it starts: x_0 of the first noise."""
    from denoscope import dynamics
    from denoscope.dynamics.loops.closed_loop import first_step_of
    from denoscope.sampling.loop import run_loop
    from denoscope.sampling.settings import Loop

    steps, seed = settings.inference.num_steps, settings.system.seed
    for level in levels:
        first_step_of(level, steps)
    x_T = first_noise(settings)
    denoiser, condition = load_with_condition(settings)
    x_0 = run_loop(denoiser, x_T, Loop(steps=steps, noise_seed=seed, streams=streams), condition=condition)

    def loop_at(level: float) -> ClosedLoop:
        return dynamics.closed_loop(
            denoiser,
            level,
            noise_seed=seed,
            noise=flags.loop_noise,
            steps=steps,
            condition=condition,
            streams=streams,
        )

    return {level: loop_at(level) for level in levels}, x_0[0]


def default_levels(steps: int) -> list[float]:
    """The levels 0.1, 0.2, …, 1; with fewer than ten steps, one level for each step."""
    count = min(steps, 10)
    return [(k + 1) / count for k in range(count)]
