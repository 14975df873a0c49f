"""One step of a diffusers scheduler: the arguments that each class takes, and its estimate of x_0."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.models.schedulers import Scheduler, has_brownian_seed, learns_variance

FLOWS = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"}
"""Flow matching: states are (1 − σ) x_0 + σ ε, and the network predicts ε − x_0."""


def begin_at(scheduler: Scheduler, step: int) -> None:
    """Let a run of a scheduler with one network call per step begin with step `step`."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(step)


def starting_sigma(scheduler: Scheduler) -> Any:
    """The factor that x_T is multiplied by before the first step; 1 in flow matching."""
    return getattr(scheduler, "init_noise_sigma", 1.0)


def noise_level(scheduler: Any, index: int) -> float:
    """The noise level σ at entry `index` of a scheduler's timesteps: its own, or √((1−ᾱ)/ᾱ)."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and index < len(sigmas):
        return float(sigmas[index])
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return float("nan")
    level = float(alphas[int(scheduler.timesteps[index])])
    return ((1 - level) / level) ** 0.5 if level > 0 else float("inf")


def noised(scheduler: Scheduler, x_0: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
    """Images x_0 [n, C, H, W] with noise, as the step of entry `index` starts from them.

    Raises: UserError if the scheduler adds no noise to images.
    """
    if not hasattr(scheduler, "add_noise"):
        raise UserError(
            f"{type(scheduler).__name__} cannot add noise to images; allowed: DDIM, DDPM, Euler and others"
        )
    return scheduler.add_noise(x_0, noise, scheduler.timesteps[index].expand(len(x_0)))


def scaled(scheduler: Scheduler, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """The states x [rows, C, H, W] as the network receives them; unchanged in flow matching."""
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

    Noise comes from one generator per row; a scheduler that draws none needs no generators. DPMSolverSDE and
    CosineDPMSolverMultistep instead draw one Brownian motion for the whole run, on the device of x, from the seeds of
    the generators of the first call.
    """
    timestep, accepted = scheduler.timesteps[index], _arguments(type(scheduler).step)
    options: dict[str, Any] = {}
    if "generator" in accepted and generators:
        options["generator"] = list(generators)
    elif has_brownian_seed(scheduler) and index == 0:
        scheduler.noise_sampler_seed = [generator.initial_seed() for generator in generators]  # type: ignore[attr-defined]
    if "prev_timestep" in accepted and index + 1 < len(scheduler.timesteps):
        # The default of UnCLIP goes back by one training timestep, whatever the number of steps.
        options["prev_timestep"] = scheduler.timesteps[index + 1]
    if type(scheduler).__name__ == "DDPMWuerstchenScheduler":  # the only one that takes one timestep per row
        timestep = timestep.expand(len(x))
    return scheduler.step(model_output, timestep, x, **options)


@functools.cache
def _arguments(step: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The arguments of a scheduler's class, looked up once: every step asks for them."""
    return inspect.signature(step).parameters


def estimate_of(
    scheduler: Scheduler, index: int, model_output: torch.Tensor, x: torch.Tensor, result: Any
) -> torch.Tensor | None:
    """The estimate of x_0 in a step, from the arguments and the result of `stepped`; None if there is none.

    It is the scheduler's own if it returns one. For flow matching it is x − σ v with the velocity v.
    """
    for name in ("pred_original_sample", "denoised"):
        if (estimate := getattr(result, name, None)) is not None:
            return estimate
    if type(scheduler).__name__ not in FLOWS or scheduler.config.get("invert_sigmas"):
        return None
    return x - scheduler.sigmas[index].to(x.device, x.dtype) * model_output  # type: ignore[attr-defined]


def zero_step(scheduler: Scheduler, index: int, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """The prediction zero for states x [rows, C, H, W], and what the scheduler's `step` returns for it."""
    output = torch.zeros_like(torch.cat([x, x], 1) if learns_variance(scheduler) else x)
    scaled(scheduler, x, scheduler.timesteps[index])  # a scheduler that scales warns of a step without it
    generators = [torch.Generator().manual_seed(row) for row in range(len(x))]
    return output, stepped(scheduler, index, output, x, generators)


def check_estimates(scheduler: Scheduler, shape: Sequence[int]) -> None:
    """Refuse a scheduler, set to its timesteps, that makes no estimate of x_0; `shape` is that of a state."""
    trial, x = copy.deepcopy(scheduler), torch.zeros(1, *shape, device=scheduler.timesteps.device)
    output, result = zero_step(trial, 0, x)
    if estimate_of(trial, 0, output, x, result) is None:
        raise UserError(
            f"{type(scheduler).__name__} makes no estimate of x_0; allowed: schedulers that make one, such as DDIM, "
            "DDPM, Euler, LCM and, in flow matching, FlowMatchEulerDiscrete"
        )
