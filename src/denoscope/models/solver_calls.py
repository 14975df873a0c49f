"""The network calls of a solver: which call of which denoising step each entry of a scheduler's timesteps is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

# Their last timestep is a boundary that the last step reaches; the network is not called there.
ENDING_WITH_A_BOUNDARY = {"DDPMWuerstchenScheduler", "SCMScheduler"}


@dataclass(frozen=True)
class Stage:
    """One entry of a scheduler's timesteps: call `call` of step `step`; `last` if it completes the step."""

    step: int
    call: int
    last: bool


def stages(scheduler: Any, steps: int) -> list[Stage]:
    """The call and step of each entry of `scheduler.timesteps`, after `set_timesteps(steps)`.

    Entry k is stage k; an entry after the last stage is a boundary from which no step starts. Most schedulers make one
    call per step. Those of order 2 (Heun, KDPM2, …) make two, except in the last step, to σ = 0. PNDM starts with
    three Runge-Kutta steps of four calls each or, if it skips them, with one step of two calls.

    >>> scheduler = HeunDiscreteScheduler()
    >>> scheduler.set_timesteps(2)
    >>> stages(scheduler, 2)
    [Stage(step=0, call=0, last=False), Stage(step=0, call=1, last=True), Stage(step=1, call=0, last=True)]

    Steps are counted by the entries, since a scheduler may make another number than `steps`: MiniMaxH3 counts both
    ends and makes `steps` − 1, and rounding adds one to some "trailing" schedules.
    """
    return _labelled(_calls(scheduler, steps))


def stages_of_part(scheduler: Any, timestep: float, count: int | None = None) -> tuple[int, list[Stage]]:
    """The entry of `scheduler.timesteps` at which a run with this first timestep begins, and its stages from there on.

    A run may leave out the beginning, as when it starts from an image (`strength`), or the end, if another model
    continues (`denoising_end`). Its steps are counted from 0. PNDM begins such a run as it begins a whole one.

    Args:
        count: the number of entries that the run takes; by default all that are left.

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
    """Where a run begins: a schedule may contain a timestep twice, and not every scheduler stores where it began."""
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
    """The same for PNDM, from the numbers of entries of its Runge-Kutta and of its linear multistep steps."""
    if runge_kutta:
        return [4] * (runge_kutta // 4) + [1] * multistep
    # Without earlier outputs, the first step is repeated from the state to which it led.
    return [1] if multistep == 1 else [2] + [1] * (multistep - 2)
