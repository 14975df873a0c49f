"""diffusers' schedulers: which of them the loop can run, and how they are chosen."""

from __future__ import annotations

import copy
import inspect
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.models import folder_schema
from denoscope.models.scheduler_names import scheduler_class

STEP_ARGUMENTS = {"self", "model_output", "timestep", "sample"}
OTHER_STATES = {
    "HeliosScheduler": "it steps through stages of growing resolution",
    "HeliosDMDScheduler": "it steps through stages of growing resolution",
    "PiflowScheduler": "its network returns a whole grid of predictions for each state",
}
"""Schedulers that the loop cannot run although their `step` has a fitting signature, and why."""
COUNTING_BOTH_ENDS = {"MiniMaxH3Scheduler"}
"""Schedulers that make one step less than the number to which they are set, by their own definition."""
WITHOUT_HISTORY = {
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
}


class Scheduler(Protocol):
    """What every diffusers scheduler that steps images has."""

    config: Any
    timesteps: torch.Tensor

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None: ...
    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any
    ) -> Any: ...


def resolve(requested: Any, default: Any | None, name: str) -> Scheduler:
    """The requested scheduler, a name or an object; `default`, that of the source, if None is requested.

    A scheduler by name takes the configuration of `default`. `name` is that of the source.
    """
    if requested is None:
        if default is None:
            raise UserError(f"{name} has no scheduler of its own; pass {spelled('scheduler', 'ddim')}")
        return check_scheduler(default)
    if isinstance(requested, str):
        return scheduler_from(requested, default.config if default is not None else {})
    check_scheduler(requested)
    _check_not_set(requested)
    return requested


def with_clipping(scheduler: Scheduler, clip_sample: bool | None) -> Scheduler:
    """The scheduler with clipping of its estimate of x_0 switched on or off; unchanged if `clip_sample` is None."""
    kind, config = type(scheduler), config_of(scheduler)
    # A configuration may hold options of other classes. Schedulers that clip under another name are left alone.
    clips = "clip_sample" in inspect.signature(kind).parameters
    if clip_sample and not clips:
        raise UserError(
            f"{spelled('clip_sample')} is True, but {kind.__name__} does not clip; leave it out, or take another "
            "scheduler, such as ddim"
        )
    if clip_sample is None or not clips or config["clip_sample"] == clip_sample:
        return scheduler
    return kind.from_config(config | {"clip_sample": clip_sample})  # type: ignore[attr-defined]


def scheduler_from(name: str, config: Any) -> Scheduler:
    """The scheduler that a name stands for (see `scheduler_class`), with a given configuration."""
    kind, options = scheduler_class(name)
    try:
        return check_scheduler(kind).from_config(config, **options)
    except ImportError as error:  # diffusers has a stand-in for a class whose own requirements are missing
        raise UserError(first_line(error)) from error
    except UserError:
        raise
    except Exception as error:  # diffusers fails in any way where values do not fit each other
        entry = folder_schema.suspect(kind, config, lambda changed: kind.from_config(changed, **options))
        raise UserError(
            f"the configuration does not make a {kind.__name__}: {first_line(error)}{entry and f'; {entry}'}"
        ) from error


def scheduler_of_file(path: Path, config: dict[str, Any]) -> Scheduler:
    """The scheduler that the content of a scheduler_config.json configures.

    Raises: UserError naming the file, and the entry because of which diffusers cannot make the scheduler.
    """
    name = str(config.get("_class_name"))
    folder_schema.check_flags(scheduler_class(name)[0], config, path)
    try:
        return scheduler_from(name, config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def config_of(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration, the same in every process: diffusers lists the defaults in use in any order."""
    config = dict(scheduler.config)
    defaults = "_use_default_values"
    return config | ({defaults: sorted(config[defaults])} if defaults in config else {})


def check_scheduler(scheduler: Any) -> Any:
    """The scheduler, or its class, refused if the loop cannot run it."""
    if reason := _unfit(scheduler):
        kind = scheduler if isinstance(scheduler, type) else type(scheduler)
        shown = kind.__name__ if hasattr(kind, "set_timesteps") else describe(scheduler)
        raise UserError(
            f"{spelled('scheduler')} is {shown}, which the loop cannot run: {reason}; allowed: a scheduler that steps "
            "images, such as DDIMScheduler"
        )
    return scheduler


def keeps_no_history(scheduler: Scheduler) -> bool:
    """Whether a run can begin between two steps from the state alone; True only for classes that tests run so."""
    return type(scheduler).__name__ in WITHOUT_HISTORY


def adds_noise(scheduler: Scheduler) -> bool:
    """Whether the scheduler adds noise in its steps.

    Many schedulers of diffusers accept a generator and draw nothing. A class from elsewhere that accepts one is assumed
    to draw.
    """
    accepted, config = inspect.signature(scheduler.step).parameters, scheduler.config
    if "generator" not in accepted:
        return has_brownian_seed(scheduler)
    if config.get("stochastic_sampling") or not type(scheduler).__module__.startswith("diffusers."):
        return True
    off_by_default = any(accepted[name].default == 0 for name in ("eta", "s_churn") if name in accepted)
    return not off_by_default and not str(config.get("algorithm_type")).startswith("dpmsolver")


def learns_variance(scheduler: Scheduler) -> bool:
    """Whether the scheduler is configured for outputs with learned variances in their last channels."""
    return str(getattr(scheduler.config, "variance_type", "")).startswith("learned")


def needs_variances(scheduler: Scheduler) -> bool:
    """Whether the scheduler cannot step without learned variances; some only leave their channels out."""
    variance = getattr(scheduler, "_get_variance", None)
    return (
        learns_variance(scheduler)
        and variance is not None
        and "predicted_variance" in inspect.signature(variance).parameters
    )


def has_brownian_seed(scheduler: Scheduler) -> bool:
    """Whether the scheduler draws one Brownian motion for a whole run, from a seed of its own."""
    return hasattr(scheduler, "noise_sampler_seed")


def _check_not_set(scheduler: Any) -> None:
    """Refuse an object that was set to more than a number of steps, since each run sets its copy again.

    A scheduler that shifts by the size of the image is left to `scheduler_for_run`, which refuses it.
    """
    if scheduler.config.get("use_dynamic_shifting"):
        return
    problem = "own timesteps or noise levels"
    try:
        fresh = _set_by_steps_alone(scheduler)
    except Exception as error:  # a foreign class may fail in any way
        problem = f"a schedule that its number of steps does not give ({first_line(error)})"
    else:
        if fresh is None or all(_same(scheduler, fresh, name) for name in ("timesteps", "sigmas")):
            return
    kind = type(scheduler).__name__
    accepted = inspect.signature(scheduler.set_timesteps).parameters
    arguments = " or ".join(f"{name}=[…]" for name in ("timesteps", "sigmas") if name in accepted)
    raise UserError(
        f"{spelled('scheduler')} is a {kind} that was set to {problem}, timesteps [{_listed(scheduler.timesteps)}], which "
        f"a run replaces; pass {f'them to the run ({arguments}), and ' if arguments else ''}a new scheduler, "
        f"{kind}.from_config(scheduler.config)"
    )


def _set_by_steps_alone(scheduler: Any) -> Any:
    """A copy that is set to the scheduler's own number of steps, or one that was never set if it has no number.

    None if the class does not say what it was before it was set.

    Raises: the class's own error if it cannot be set so.
    """
    steps = getattr(scheduler, "num_inference_steps", None)
    if not isinstance(getattr(scheduler, "timesteps", None), torch.Tensor):
        return None
    if steps is None:
        # A class from elsewhere may need more than its configuration.
        with suppress(Exception):
            return type(scheduler).from_config(scheduler.config)
        return None
    fresh = copy.deepcopy(scheduler)
    fresh.set_timesteps(
        steps + (type(scheduler).__name__ in COUNTING_BOTH_ENDS), device=scheduler.timesteps.device
    )
    return fresh


def _same(one: Any, other: Any, name: str) -> bool:
    """Whether two schedulers have the same values of an attribute, or one of them has none."""
    values = [getattr(scheduler, name, None) for scheduler in (one, other)]
    if any(value is None for value in values):
        return True
    first, second = (torch.as_tensor(value).cpu().double() for value in values)
    return first.shape == second.shape and torch.equal(first, second)


def _listed(timesteps: torch.Tensor) -> str:
    """The first timesteps, each once: solvers with two calls in a step repeat theirs."""
    values = list(dict.fromkeys(f"{float(value):g}" for value in timesteps))
    return ", ".join(values[:4]) + (", …" if len(values) > 4 else "")


def _unfit(scheduler: Any) -> str | None:
    """Why the loop cannot run a scheduler or a class of schedulers; None if it can."""
    kind = scheduler if isinstance(scheduler, type) else type(scheduler)
    missing = [name for name in ("step", "set_timesteps") if not hasattr(scheduler, name)]
    if missing:
        return f"it lacks {', '.join(missing)}"
    parameters = inspect.signature(scheduler.step).parameters.values()
    if any(p.name == "sample" and "LongTensor" in str(p.annotation) for p in parameters):
        return "it steps tokens"
    required = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if unknown := [name for name in required if name not in STEP_ARGUMENTS]:
        return f"its step requires {', '.join(unknown)}"
    return OTHER_STATES.get(kind.__name__)
