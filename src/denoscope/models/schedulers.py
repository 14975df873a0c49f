"""diffusers' schedulers: which ones the loop can run, and what differs in setting up and stepping them."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.validation import parse_integer
from denoscope.models import schedule

GIVEN = {"self", "model_output", "timestep", "sample"}
# What no signature tells.
OTHER_STATES = {
    "HeliosScheduler": "it steps through stages of growing resolution",
    "HeliosDMDScheduler": "it steps through stages of growing resolution",
    "PiflowScheduler": "its network puts out a whole grid of predictions for each state",
}
WITHOUT_HISTORY = {
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
}
FLOWS = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"}
"""Their states are (1 − σ) x_0 + σ ε, and their networks' outputs ε − x_0."""


class Scheduler(Protocol):
    """What every diffusers scheduler that steps images has."""

    config: Any
    timesteps: torch.Tensor

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None: ...
    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any
    ) -> Any: ...


def resolve(wanted: Any, own: Any | None, name: str) -> Scheduler:
    """The scheduler that is `wanted` (a name or an object), or a source's own where none is.

    A name is built from the configuration of the source's own; `name` is the source's.
    """
    if wanted is None:
        if own is None:
            raise UserError(f"{name} brings no scheduler; name one (scheduler='ddim', --scheduler ddim)")
        return able(own)
    if not isinstance(wanted, str):
        return able(wanted)
    return scheduler_from(wanted, own.config if own is not None else {})


def with_clipping(scheduler: Scheduler, clip_sample: bool | None) -> Scheduler:
    """The scheduler with its estimate of x_0 clipped to [-1, 1] or not; as it is unless told."""
    kind, config = type(scheduler), config_of(scheduler)
    # A configuration also holds what other schedulers' classes take; what clips by other names stays as it is.
    clips = "clip_sample" in inspect.signature(kind).parameters
    if clip_sample and not clips:
        raise UserError(
            f"clip_sample is True, but {kind.__name__} has no such option; leave it out, or name another scheduler, as ddim"
        )
    if clip_sample is None or not clips or config["clip_sample"] == clip_sample:
        return scheduler
    return kind.from_config(config | {"clip_sample": clip_sample})  # type: ignore[attr-defined]


def scheduler_from(name: str, config: Any) -> Scheduler:
    """The diffusers scheduler of a class name with a given configuration."""
    try:
        return able(_class_of(name)).from_config(config)
    except ImportError as error:  # diffusers stands in for a class whose own requirements are missing
        raise UserError(first_line(error)) from error


def config_of(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration, the same in every process: diffusers lists what was left out in any order."""
    config = dict(scheduler.config)
    left_out = "_use_default_values"
    return config | ({left_out: sorted(config[left_out])} if left_out in config else {})


def able(scheduler: Any) -> Any:
    """The scheduler (or its class), refused where the loop cannot run it."""
    reason = _unfit(scheduler)
    if reason:
        kind = scheduler if isinstance(scheduler, type) else type(scheduler)
        told = kind.__name__ if hasattr(kind, "set_timesteps") else repr(scheduler)
        raise UserError(
            f"the scheduler is {told}, which this loop cannot run: {reason}; "
            "allowed: a scheduler that steps images, as DDIMScheduler"
        )
    return scheduler


def ready(scheduler: Scheduler, steps: int, *, device: torch.device, double: bool) -> Scheduler:
    """A copy of the scheduler for one run of `steps` steps: schedulers keep state between steps.

    Its tables are computed in double precision where `double` is true.
    """
    name, most = type(scheduler).__name__, scheduler.config.get("num_train_timesteps")
    parse_integer(
        steps,
        "num_steps",
        minimum=1,
        maximum=most,
        note="" if most is None else "the model's training timesteps",
    )
    if scheduler.config.get("use_dynamic_shifting"):
        raise UserError(
            f"{name} shifts its noise levels by the size of the image (use_dynamic_shifting), which this loop "
            "does not tell it; give a scheduler object with use_dynamic_shifting=False and a shift of its own"
        )
    scheduler = copy.deepcopy(scheduler)
    if double:
        schedule.in_double(scheduler)
    try:
        scheduler.set_timesteps(steps, device=device)
    except (ValueError, ArithmeticError) as error:
        raise UserError(
            f"num_steps is {steps}, which {name} cannot make ({first_line(error)}); give another number"
        ) from error
    if double:
        schedule.after_set_timesteps(scheduler)
    return scheduler


def keeps_no_history(scheduler: Scheduler) -> bool:
    """Whether a run can go on from the state between two steps alone; known of those that tests run so."""
    return type(scheduler).__name__ in WITHOUT_HISTORY


def begun_at(scheduler: Scheduler, step: int) -> None:
    """Tell a scheduler of one call a step that its run begins with step `step`."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(step)


def starting_sigma(scheduler: Scheduler) -> Any:
    """What x_T is multiplied with before the first step; flow matching starts from x_T itself."""
    return getattr(scheduler, "init_noise_sigma", 1.0)


def scaled(scheduler: Scheduler, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """The states x [rows, C, H, W] as the network is to see them; flow matching scales nothing."""
    scale = getattr(scheduler, "scale_model_input", None)
    return x if scale is None else scale(x, timestep)


def stepped(
    scheduler: Scheduler,
    index: int,
    model_output: torch.Tensor,
    x: torch.Tensor,
    generators: Sequence[torch.Generator],
) -> Any:
    """What the scheduler's `step` returns for entry `index` of its timesteps and the states x [rows, C, H, W].

    Its noise comes from one generator a row. DPMSolverSDE and CosineDPMSolverMultistep draw a Brownian motion
    for the whole run, on the device of x, from the seeds of the first call's generators.
    """
    timestep, accepted = scheduler.timesteps[index], inspect.signature(scheduler.step).parameters
    options: dict[str, Any] = {}
    if "generator" in accepted:
        options["generator"] = list(generators)
    elif _has_brownian_seed(scheduler) and index == 0:
        scheduler.noise_sampler_seed = [generator.initial_seed() for generator in generators]  # type: ignore[attr-defined]
    if "prev_timestep" in accepted and index + 1 < len(scheduler.timesteps):
        # UnCLIP, left alone, goes back by one training timestep, however many steps there are.
        options["prev_timestep"] = scheduler.timesteps[index + 1]
    if type(scheduler).__name__ == "DDPMWuerstchenScheduler":  # the one that wants a timestep for each row
        timestep = timestep.expand(len(x))
    return scheduler.step(model_output, timestep, x, **options)


def estimate_of(
    scheduler: Scheduler, index: int, model_output: torch.Tensor, x: torch.Tensor, result: Any
) -> torch.Tensor | None:
    """The estimate of x_0 in a step, from what `stepped` was given and has returned; None where there is none.

    It is the scheduler's own where it tells one. Flow matching, which does not, estimates x − σ v from the velocity v.
    """
    for name in ("pred_original_sample", "denoised"):
        if (own := getattr(result, name, None)) is not None:
            return own
    if type(scheduler).__name__ not in FLOWS or scheduler.config.get("invert_sigmas"):
        return None
    return x - scheduler.sigmas[index].to(x.device, x.dtype) * model_output  # type: ignore[attr-defined]


def need_estimates(scheduler: Scheduler, shape: Sequence[int]) -> None:
    """Refuse a scheduler, set to its timesteps, that makes no estimate of x_0; `shape` is that of a state."""
    tried, x = copy.deepcopy(scheduler), torch.zeros(1, *shape, device=scheduler.timesteps.device)
    learned = str(scheduler.config.get("variance_type")).startswith("learned")
    output = torch.cat([x, x], 1) if learned else x
    result = stepped(tried, 0, output, x, [torch.Generator().manual_seed(0)])
    if estimate_of(tried, 0, output, x, result) is None:
        raise UserError(
            f"{type(scheduler).__name__} makes no estimate of x_0; allowed: schedulers that do, such as DDIM, DDPM, "
            "Euler, LCM and, for flow matching, FlowMatchEulerDiscrete"
        )


def adds_noise(scheduler: Scheduler) -> bool:
    """Whether the scheduler adds noise in its steps; that some accept a generator does not say so."""
    accepted, config = inspect.signature(scheduler.step).parameters, scheduler.config
    if "generator" not in accepted:
        return _has_brownian_seed(scheduler)
    if config.get("stochastic_sampling"):
        return True
    unasked = any(accepted[name].default == 0 for name in ("eta", "s_churn") if name in accepted)
    return not unasked and not str(config.get("algorithm_type")).startswith("dpmsolver")


def _has_brownian_seed(scheduler: Scheduler) -> bool:
    return hasattr(scheduler, "noise_sampler_seed")


def _unfit(scheduler: Any) -> str | None:
    """Why the loop cannot run a scheduler or a class of them, None where it can."""
    kind = scheduler if isinstance(scheduler, type) else type(scheduler)
    lacks = [name for name in ("step", "set_timesteps") if not hasattr(scheduler, name)]
    if lacks:
        return f"it lacks {', '.join(lacks)}"
    parameters = inspect.signature(scheduler.step).parameters.values()
    if any(p.name == "sample" and "LongTensor" in str(p.annotation) for p in parameters):
        return "it steps tokens"
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if lacks := [name for name in needed if name not in GIVEN]:
        return f"its step needs a value for {', '.join(lacks)}"
    return OTHER_STATES.get(kind.__name__)


def _class_of(name: str) -> Any:
    """The diffusers scheduler of a class name; case and the ending "Scheduler" do not matter."""
    import diffusers

    names = [item for item in dir(diffusers) if item.endswith("Scheduler") and not item.startswith("Flax")]
    found = next(
        (item for item in names if name.lower() in (item.lower(), item[: -len("Scheduler")].lower())), None
    )
    if found is None:
        short = [item.removesuffix("Scheduler").lower() for item in names]
        nearest = difflib.get_close_matches(name.lower(), short, n=3, cutoff=0.5) or ["ddim", "ddpm"]
        near = [names[short.index(item)] for item in nearest]
        raise UserError(
            f"unknown scheduler {name!r}; allowed: ddim, ddpm, or a class such as {', '.join(near)}"
        )
    return getattr(diffusers, found)
