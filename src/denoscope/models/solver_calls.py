"""Which network call of which denoising step each entry of a scheduler's timesteps is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

# Their timesteps end with a boundary that the last step reaches, where no network is asked.
ENDING_WITH_A_BOUNDARY = {"DDPMWuerstchenScheduler", "SCMScheduler"}


@dataclass(frozen=True)
class Stage:
    """One entry of a scheduler's timesteps: call `call` of step `step`; `last` where it completes the step."""

    step: int
    call: int
    last: bool


def stages(scheduler: Any, steps: int) -> list[Stage]:
    """Which call of which step each entry of `scheduler.timesteps` is, after `set_timesteps(steps)`.

    Entry k is stage k; an entry beyond the last stage is a boundary that no step starts from. A step of most
    schedulers is one call. Those of order 2 (Heun, KDPM2, …) make two, but one in the last step, to σ = 0.
    PNDM starts with three Runge-Kutta steps of four calls or, where it skips them, with one step of two.

    >>> scheduler = HeunDiscreteScheduler()
    >>> scheduler.set_timesteps(2)
    >>> stages(scheduler, 2)
    [Stage(step=0, call=0, last=False), Stage(step=0, call=1, last=True), Stage(step=1, call=0, last=True)]

    The steps are counted by the entries, since a scheduler need not make as many as it was told: MiniMaxH3
    counts both ends and makes `steps` − 1, and rounding adds one to some "trailing" schedules.
    """
    return _labelled(_calls(scheduler, steps))


def stages_of_part(scheduler: Any, timestep: float, count: int | None = None) -> tuple[int, list[Stage]]:
    """The entry of `scheduler.timesteps` that a run begins at with `timestep`, and its stages from there on.

    A run may leave out the beginning, as from an image (`strength`), or the end, which another model is to make
    (`denoising_end`); its steps count from 0. PNDM begins each of them as it begins a whole one.

    Args:
        count: of the entries that the run takes; all that are left unless given.

    Raises: ValueError if no entry has the timestep.
    """
    whole = stages(scheduler, len(scheduler.timesteps) - 1)
    first = _first_entry(scheduler, timestep, count)
    count = len(whole) - first if count is None else min(count, len(whole) - first)
    if hasattr(scheduler, "prk_timesteps"):
        runge_kutta = min(len(scheduler.prk_timesteps), count)
        part = _labelled(_calls_of_pndm(runge_kutta, count - runge_kutta))
    else:
        part = whole[first : first + count]
    part = [replace(stage, step=stage.step - part[0].step) for stage in part]
    return first, [*part[:-1], replace(part[-1], last=True)]


def _first_entry(scheduler: Any, timestep: float, count: int | None) -> int:
    """Where a run begins: some schedulers name a timestep more than once, and not all say where they began."""
    timesteps = scheduler.timesteps.tolist()
    places = [place for place, value in enumerate(timesteps) if value == timestep]
    if not places:
        raise ValueError(f"no step starts from timestep {timestep}")
    if (begin := getattr(scheduler, "begin_index", None)) in places:
        return int(begin)
    to_the_end = [place for place in places if place + (count or 0) == len(timesteps)]
    return (to_the_end or places)[0]


def _labelled(calls: list[int]) -> list[Stage]:
    return [Stage(step, call, call == count - 1) for step, count in enumerate(calls) for call in range(count)]


def _calls(scheduler: Any, steps: int) -> list[int]:
    """The number of network calls of each step."""
    entries = len(scheduler.timesteps)
    if hasattr(scheduler, "prk_timesteps"):
        return _calls_of_pndm(len(scheduler.prk_timesteps), len(scheduler.plms_timesteps))
    if getattr(scheduler, "order", 1) == 2:
        return [2] * ((entries - 1) // 2) + [1]
    if type(scheduler).__name__ in ENDING_WITH_A_BOUNDARY:
        return [1] * steps
    return [1] * entries


def _calls_of_pndm(runge_kutta: int, multistep: int) -> list[int]:
    """Those of PNDM, from the entries of its Runge-Kutta steps and of its linear multistep ones."""
    if runge_kutta:
        return [4] * (runge_kutta // 4) + [1] * multistep
    # With no earlier outputs to go by, the first step is made again from where it led.
    return [1] if multistep == 1 else [2] + [1] * (multistep - 2)
