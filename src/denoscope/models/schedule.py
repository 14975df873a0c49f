"""Setting a scheduler for a run, to a number of steps or to the caller's timesteps, and testing it."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer
from denoscope.models import folder_schema, schedule_precision
from denoscope.models.scheduler_steps import zero_step
from denoscope.models.schedulers import COUNTING_BOTH_ENDS, Scheduler
from denoscope.models.solver_calls import stages

EXAMPLES = {
    "timesteps": "DDPM, EulerDiscrete, HeunDiscrete, DPMSolverMultistep, LCM or FlowMatchEulerDiscrete",
    "sigmas": "EulerDiscrete, FlowMatchEulerDiscrete, or UniPCMultistep with use_flow_sigmas",
}


def scheduler_for_run(
    scheduler: Scheduler,
    steps: int,
    *,
    device: torch.device,
    double: bool,
    timesteps: Sequence[float] = (),
    sigmas: Sequence[float] = (),
) -> Scheduler:
    """A copy of the scheduler, set to `steps` steps, for one run: schedulers keep state between steps.

    Args:
        double: compute the scheduler's tables in double precision.
        timesteps: the timesteps to use instead of those that the scheduler computes for `steps` steps.
        sigmas: the noise level from which each step starts, instead of timesteps.

    Raises: UserError if the scheduler cannot be set so.
    """
    name, most = type(scheduler).__name__, scheduler.config.get("num_train_timesteps")
    note = "" if most is None else "the model's training timesteps"
    parse_integer(steps, "steps", minimum=1, maximum=most, note=note)
    if scheduler.config.get("use_dynamic_shifting"):
        raise UserError(
            f"{name} shifts its noise levels by the size of the image (use_dynamic_shifting), which the loop does not "
            "pass on; give a scheduler object with use_dynamic_shifting=False and a shift of its own"
        )
    prepared = copy.deepcopy(scheduler)
    if double:
        schedule_precision.in_double(prepared)
    if timesteps:
        _set(prepared, "timesteps", [_whole_if_possible(value) for value in timesteps], device)
    elif sigmas:
        prepared = _set_to_sigmas(prepared, steps, sigmas, device)
    else:
        _set_to_steps(prepared, steps, device)
    if double:
        schedule_precision.after_set_timesteps(prepared)
    return prepared


def check_schedule(scheduler: Scheduler, steps: int, dtype: torch.dtype) -> None:
    """Refuse a scheduler, set for a run, whose timesteps are not those of `steps` steps or which cannot step them.

    It is tried by stepping zeros in precision `dtype` on a copy.
    """
    if problem := _problem(scheduler, steps):
        raise UserError(f"{spelled('steps')} is {steps}: {problem}; {_remedy(scheduler, steps)}")
    trial, index = copy.deepcopy(scheduler), 0
    x = torch.zeros(1, 1, 2, 2, dtype=dtype, device=trial.timesteps.device)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            for index, _ in enumerate(stages(trial, steps)):
                x = zero_step(trial, index, x)[1].prev_sample
    except Exception as error:  # a foreign class may fail in any way
        reason = first_line(error)
        raise UserError(
            f"{spelled('steps')} is {steps}: {_described(scheduler)} fails in step {index} of {steps} with "
            f"{type(error).__name__}{'' if reason == type(error).__name__ else f' ({reason})'}; "
            f"{_suspect(scheduler, steps) or 'give another number of steps or another scheduler'}"
        ) from error


def _suspect(scheduler: Scheduler, steps: int) -> str:
    """The entry of a scheduler's configuration because of which it cannot make a number of steps; empty if none is found."""
    kind: Any = type(scheduler)
    if not kind.__module__.startswith("diffusers."):
        return ""

    def use(config: dict[str, Any]) -> None:
        trial = kind.from_config(config)
        trial.set_timesteps(steps)
        x = torch.zeros(1, 1, 2, 2)
        for index, _ in enumerate(stages(trial, steps)):
            x = zero_step(trial, index, x)[1].prev_sample

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        entry = folder_schema.suspect(kind, scheduler.config, use)
    return entry and f"its {entry}"


def _problem(scheduler: Scheduler, steps: int) -> str | None:
    """What is wrong with the timesteps of a scheduler that was set to `steps` steps."""
    made = stages(scheduler, steps)[-1].step + 1
    last = float(scheduler.timesteps.min())
    # Only schedulers with a table of levels by timestep count timesteps from 0.
    if last < 0 and hasattr(scheduler, "alphas_cumprod"):
        return f"{_described(scheduler)} makes {made} steps of it, with timestep {last:g} among them"
    if made != steps - (type(scheduler).__name__ in COUNTING_BOTH_ENDS):
        return f"{_described(scheduler)} makes {made} steps of it"
    return None


def _remedy(scheduler: Scheduler, steps: int) -> str:
    near = [steps + away * sign for away in range(1, 8) for sign in (-1, 1) if steps + away * sign >= 1]
    working = list(_working(scheduler, near))[:2]
    return (
        f"allowed nearby: {' and '.join(map(str, sorted(working)))}" if working else "take another scheduler"
    )


def _working(scheduler: Scheduler, numbers: Sequence[int]) -> Iterator[int]:
    """Those of the numbers for which the scheduler makes exactly that many steps."""
    for number in numbers:
        trial = copy.deepcopy(scheduler)
        try:
            trial.set_timesteps(number)
        except Exception:  # it does not work either
            continue
        if _problem(trial, number) is None:
            yield number


def _described(scheduler: Scheduler) -> str:
    """A scheduler's class with the option that decides how its timesteps are spaced."""
    spacing = scheduler.config.get("timestep_spacing")
    name = type(scheduler).__name__
    return name if spacing is None else f"{name} with timestep_spacing={spacing!r}"


def _set_to_steps(scheduler: Scheduler, steps: int, device: torch.device) -> None:
    try:
        scheduler.set_timesteps(steps, device=device)
    except Exception as error:  # a foreign class may fail in any way
        raise UserError(
            f"{spelled('steps')} is {steps}, which {_described(scheduler)} cannot make ({first_line(error)}); "
            f"{_suspect(scheduler, steps) or 'give another number'}"
        ) from error


def _set(scheduler: Any, argument: str, values: Sequence[float], device: torch.device) -> None:
    """Set a scheduler to timesteps or noise levels of the caller's."""
    if argument not in inspect.signature(scheduler.set_timesteps).parameters:
        raise UserError(
            f"{spelled(argument)} is given, but {type(scheduler).__name__} computes its own; take a scheduler that "
            f"accepts {argument}, such as {EXAMPLES[argument]}"
        )
    reason: Exception = TypeError()
    for form in (list, np.array, torch.tensor):  # each class takes one of them
        try:
            scheduler.set_timesteps(device=device, **{argument: form(list(values))})
            return
        except (TypeError, AttributeError) as error:
            reason = error
        except Exception as error:  # a foreign class may fail in any way
            reason = error
            break
    raise UserError(
        f"{spelled(argument)} is {list(values)}, which {type(scheduler).__name__} refuses: {first_line(reason)}"
    ) from reason


def _set_to_sigmas(scheduler: Any, steps: int, sigmas: Sequence[float], device: torch.device) -> Any:
    """A scheduler set to noise levels: some classes take the final 0 with them, others append it."""
    positive = [value for value in sigmas if value > 0]
    for values in (positive, [*positive, 0.0]):
        trial = copy.deepcopy(scheduler)
        _set(trial, "sigmas", values, device)
        if stages(trial, steps)[-1].step + 1 == steps:
            return trial
    raise UserError(
        f"{spelled('sigmas')} has {steps} levels above 0, but {type(scheduler).__name__} does not make one step of each"
    )


def _whole_if_possible(value: float) -> float:
    return int(value) if value == int(value) else value
