"""`denoscope dynamics …` of noising and denoising an image again and again: exponents and orbits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from denoscope.cli.output import JSON, NPZ, Keeping, Pictured, warn, write_json
from denoscope.cli.verb import KEPT, LEVELS, MODEL, OwnFlags, Verb, levels_of, load
from denoscope.config import POSITIVE, Settings, at_least, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import torch

    from denoscope.dynamics.loops.closed_loop import ClosedLoop
    from denoscope.dynamics.result import Estimate

FLAGS = {"system": "inputs device seed", "model": MODEL, "inference": f"num_steps {KEPT}"}


@dataclass(frozen=True)
class LoopFlags(OwnFlags):
    """How long a closed loop is iterated, and by which noise."""

    iterations: int = option(1000, "Iterations that are measured.", at_least(2))
    discard: int = option(100, "Iterations before, for the transient.", at_least(0))
    loop_noise: Literal["fixed", "common"] = option(
        "fixed", "fixed: one draw for all iterations; common: one for each."
    )


@dataclass(frozen=True)
class OneLoopFlags(LoopFlags):
    """Which closed loop is iterated, and how long."""

    level: float = option(0.5, "How far back each iteration noises, as a share of the steps.", POSITIVE)


def _loops(
    settings: Settings, own: LoopFlags, streams: int
) -> tuple[Callable[[float], ClosedLoop], torch.Tensor]:
    """The loop at each level, and the image [C, H, W] that it begins with: what the first noise becomes."""
    from denoscope import dynamics, noise
    from denoscope.sampling.loop import Loop, run_loop

    denoiser, steps, seed = load(settings), settings.inference.num_steps, settings.system.seed
    x_T = noise.read(settings.system.inputs, shape=denoiser.shape).batch([0])
    x_0 = run_loop(denoiser, x_T, Loop(steps=steps, noise_seed=seed, streams=streams))

    def loop_at(level: float) -> ClosedLoop:
        return dynamics.closed_loop(
            denoiser, level, noise_seed=seed, noise=own.loop_noise, steps=steps, streams=streams
        )

    return loop_at, x_0[0]


@dataclass(frozen=True)
class LyapunovFlags(OneLoopFlags, Keeping):
    """Which closed loop is iterated, and how long."""

    k: int = option(2, "How many exponents, the largest.", at_least(1))
    output: Path = option(
        Path("lyapunov.json"), "The file of the exponents, with what they were computed from.", JSON
    )
    kept: Path = option(Path("lyapunov.npz"), "The file in which the orbit is kept as far as it got.", NPZ)


def _lyapunov(settings: Settings, own: LyapunovFlags) -> None:
    from denoscope import dynamics

    inference = settings.inference
    with own.at_work(inference, "closed loop", unit="iteration", kept=own.kept) as checkpoint:
        loop_at, x_0 = _loops(settings, own, checkpoint.streams)
        found = dynamics.lyapunov(
            loop_at(own.level),
            x_0,
            iterations=own.iterations,
            k=own.k,
            discard=own.discard,
            checkpoint=checkpoint,
        )
    for number, (value, (low, high)) in enumerate(zip(found.exponents, found.intervals, strict=True), 1):
        print(f"exponent {number}: {value:+.4f} per iteration  [{low:+.4f}, {high:+.4f}]")
    warn(found.warnings)
    write_json(own.output, found.to_dict())
    print(own.output)


@dataclass(frozen=True)
class OrbitFlags(OneLoopFlags, Keeping, Pictured):
    """What is asked of the orbit, and where it goes."""

    theiler: int = option(10, "States nearer in time than so many iterations are no neighbours.", at_least(0))
    output: Path = option(Path("orbit.json"), "The file of what is measured of the orbit.", JSON)
    kept: Path = option(Path("orbit.npz"), "The file of the orbit's states, as far as it got.", NPZ)


def _orbit(settings: Settings, own: OrbitFlags) -> None:
    from denoscope import dynamics, figures

    inference, seed = settings.inference, settings.system.seed
    with own.at_work(inference, "closed loop", unit="iteration", kept=own.kept) as checkpoint:
        loop_at, x_0 = _loops(settings, own, checkpoint.streams)
        loop = loop_at(own.level)
        states = dynamics.orbit(
            loop,
            x_0,
            iterations=own.iterations,
            discard=own.discard,
            checkpoint=checkpoint,
        ).cpu()
    own.draw(figures.draw_orbit, states)
    found = {"computed_from": loop.origin}
    for name, measure, in_words in _measures(states, own.theiler, seed):
        try:
            one = measure()
        except UserError as error:  # of an orbit that is too short for it, or stands still
            print(f"{name}: not measured, {error}")
            continue
        print(f"{name}: {in_words(one)}")
        warn(f"{name}: {line}" for line in one.warnings)
        # The matrix is as long as the orbit is squared, and made again from the states.
        found[name] = {field: value for field, value in one.to_dict().items() if field != "matrix"}
    write_json(own.output, found)
    own.tell()


def _measures(
    states: torch.Tensor, theiler: int, seed: int
) -> list[tuple[str, Callable[[], Any], Callable[[Any], str]]]:
    """What is asked of the states [iteration, C, H, W] of an orbit: its name, the measure, and its result in a line."""
    from denoscope import dynamics

    return [
        (
            "period",
            lambda: dynamics.periodicity(states, longest=max(1, min(64, len(states) // 3))),
            lambda found: f"{found.period or f'none of up to {len(found.returns)}'} iterations",
        ),
        (
            "0-1 test of the mean pixel",
            lambda: dynamics.zero_one(states.flatten(1).double().mean(1), seed=seed),
            lambda found: f"K {_within(found)}",
        ),
        (
            "correlation dimension",
            lambda: dynamics.correlation_dimension(states, theiler=theiler),
            lambda found: f"{_within(found)}, at most {found.bound:.2f} can be shown",
        ),
        (
            "recurrence",
            lambda: dynamics.recurrence(states, theiler=theiler),
            lambda found: f"determinism {found.determinism:.3f}, laminarity {found.laminarity:.3f}",
        ),
    ]


def _within(found: Estimate) -> str:
    low, high = found.interval or (math.nan, math.nan)
    return f"{found.value:.3f}  [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True)
class DiagramFlags(LoopFlags, Keeping, Pictured):
    """Which closed loops are iterated, how long, and where the diagram goes."""

    levels: tuple[float, ...] = option((), LEVELS)
    iterations: int = option(100, "Iterations that are shown.", at_least(2))
    output: Path = option(Path("orbit_diagram.json"), "The file of the values along each orbit.", JSON)
    kept: Path = option(
        Path("orbit_diagram.npz"), "The file in which the values are kept, level by level.", NPZ
    )


def _orbit_diagram(settings: Settings, own: DiagramFlags) -> None:
    from denoscope import dynamics, figures

    inference = settings.inference
    with own.at_work(inference, "closed loops", unit="iteration", kept=own.kept) as checkpoint:
        loop_at, x_0 = _loops(settings, own, checkpoint.streams)
        # All of them before the first, so that a level that is none is refused at once.
        loops = {level: loop_at(level) for level in own.levels or levels_of(inference.num_steps)}
        found = dynamics.orbit_diagram(
            loops.__getitem__,
            list(loops),
            x_0,
            iterations=own.iterations,
            discard=own.discard,
            checkpoint=checkpoint,
        )
    begins = {str(level): loop.begin for level, loop in loops.items()}
    write_json(
        own.output, {"computed_from": {**loop_at(max(loops)).origin, "begin": begins}, **found.to_dict()}
    )
    own.draw(
        lambda ax, found: figures.draw_orbit_diagram(ax, found).set(xlabel="level", ylabel="mean pixel"),
        found,
    )
    for level, values in zip(loops, found.values, strict=True):
        told = f"mean pixel {values.min():+.6f} to {values.max():+.6f}"
        print(f"level {level:<5g} {told if math.isfinite(values[0]) else 'diverged'}")
    warn(found.warnings)
    own.tell()


VERBS: dict[str, Verb] = {
    "dynamics lyapunov": Verb(
        _lyapunov,
        "Asymptotic Lyapunov exponents of noising and denoising an image again and again.",
        FLAGS,
        LyapunovFlags,
    ),
    "dynamics orbit": Verb(
        _orbit,
        "Whether noising and denoising an image again and again settles, recurs or wanders: period, 0–1 test, dimension.",
        FLAGS,
        OrbitFlags,
    ),
    "dynamics orbit_diagram": Verb(
        _orbit_diagram,
        "What the mean pixel takes on when images are noised and denoised again and again, level by level.",
        FLAGS,
        DiagramFlags,
    ),
}
