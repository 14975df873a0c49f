"""The tables of a scheduler in double precision.

diffusers holds its tables in float32, so that results agree with closed forms to about 1e-6 at best. This module
computes them in float64. A computed table replaces the scheduler's own only if both agree to the precision of float32;
otherwise the scheduler's own values are cast, so that a schedule unknown to this module is not changed.

Some schedulers also round the state to float32 inside `step`, which removes differences below 1e-7 between states and
which this module cannot prevent. In diffusers 0.42 these are DPMSolverMultistep, EDMEuler, EulerDiscrete,
EulerAncestralDiscrete, FlowMatchEulerDiscrete, FlowMatchHeunDiscrete, FlowMatchLCM, LTXEulerAncestralRF, Piflow, and
Helios and HeliosDMD in their Euler steps. `keeps_double` tests a scheduler by stepping it. DPMSolverSinglestep, DEIS,
UniPC and Heun keep double precision and can replace DPMSolverMultistep and the Euler schedulers.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch

from denoscope.models.schedulers import learns_variance

DERIVED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "alpha_t": lambda level: level.sqrt(),
    "sigma_t": lambda level: (1 - level).sqrt(),
    "lambda_t": lambda level: level.sqrt().log() - (1 - level).sqrt().log(),
    "sigmas": lambda level: ((1 - level) / level) ** 0.5,
}
ENDS = ("final_alpha_cumprod", "initial_alpha_cumprod")
TINY = 2.0**-24
"""The last alphas_cumprod that some schedulers use instead of 0, to keep sigma finite."""


def in_double(scheduler: Any) -> None:
    """Replace a scheduler's float32 tables in place by float64 ones, computed from its configuration.

    The tables are betas, alphas, alphas_cumprod, their end values (final_alpha_cumprod, …) and the alpha_t, sigma_t,
    lambda_t of the DPM-Solver, UniPC, DEIS and SA-Solver families; any other float32 tensor is cast. The known
    schedules are trained betas, linear, scaled_linear, squaredcos_cap_v2 and sigmoid, with or without rescaling to zero
    terminal SNR; the betas of any other schedule are cast and multiplied in float64. Call it before `set_timesteps`.
    """
    table = getattr(scheduler, "alphas_cumprod", None)
    if isinstance(table, torch.Tensor) and isinstance(getattr(scheduler, "betas", None), torch.Tensor):
        betas = _known_or_cast(_betas(scheduler.config), scheduler.betas)
        level = _known_or_cast(_alphas_cumprod(betas.cpu(), scheduler.config, table), table)
        ends = {name: getattr(scheduler, name) for name in ENDS if hasattr(scheduler, name)}
        for name, end in ends.items():
            # The end value is 1 or the first entry of the table, depending on `set_alpha_to_one`.
            setattr(scheduler, name, level[0] if end == table[0] else end.double())
        scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = betas, 1 - betas, level
        for name, formula in DERIVED.items():
            derived = getattr(scheduler, name, None)
            if isinstance(derived, torch.Tensor):
                # The tolerance is loose because 1 − ᾱ in float32 is off by a thousandth where ᾱ is almost 1.
                setattr(scheduler, name, _known_or_cast(formula(level), derived, rtol=2e-3))
    _cast(scheduler)


def after_set_timesteps(scheduler: Any) -> None:
    """Convert what `set_timesteps` computed in float32 to float64; the tables are already in double.

    A sigma that is the float32 rounding of a noise level of the training schedule, or of one interpolated at a
    timestep, becomes that level in full precision. Every other sigma (Karras, exponential, beta and flow spacings, the
    EDM and consistency families, IPNDM) is cast, so its value has a relative rounding error of 6e-8. Timesteps are not
    changed, since they are inputs of the network.
    """
    sigmas, level = getattr(scheduler, "sigmas", None), getattr(scheduler, "alphas_cumprod", None)
    if isinstance(sigmas, torch.Tensor) and isinstance(level, torch.Tensor):
        scheduler.sigmas = _unrounded(sigmas, _noise_levels(level, scheduler.timesteps))
    _cast(scheduler)


def keeps_double(scheduler: Any, *, steps: int = 4) -> bool:
    """Whether `step` keeps the precision of a float64 state, measured by stepping copies of the scheduler.

    Before each step, one pair of states is 1e-8 apart and another, along the same direction, 1 apart. A step is affine
    with a linear network and without clipping, so the first distance after it must be 1e-8 of the second. Rounding the
    state to float32 makes it 0 or 1e-7 instead.
    """
    x, direction = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = (0.0, 1e-8, 1.0)
    copies = [_unclipped(scheduler) for _ in sizes]
    for copied in copies:
        copied.set_timesteps(steps, device="cpu")
    for index in range(min(steps, len(copies[0].timesteps))):
        base, near, far = (
            _stepped(copied, index, x + size * direction) for copied, size in zip(copies, sizes, strict=True)
        )
        expected = far - base
        error = (near - base - sizes[1] * expected).abs().max()
        if near.dtype != torch.float64 or error > 1e-3 * sizes[1] * expected.abs().max():
            return False
        x = base
    return True


def _betas(config: Any) -> torch.Tensor | None:
    """The training schedule's betas [T] in float64; None if the configuration names an unknown schedule."""
    kind, count = config.get("beta_schedule"), config.get("num_train_timesteps")
    if config.get("trained_betas") is not None:
        betas = torch.as_tensor(config["trained_betas"], dtype=torch.float64).clone()
    elif kind == "squaredcos_cap_v2":
        betas = _cosine_betas(count)
    elif kind in ("linear", "scaled_linear", "sigmoid") and {"beta_start", "beta_end"} <= set(config):
        start, end = config["beta_start"], config["beta_end"]
        betas = {
            "linear": lambda: torch.linspace(start, end, count, dtype=torch.float64),
            "scaled_linear": lambda: torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2,
            "sigmoid": lambda: (
                torch.linspace(-6, 6, count, dtype=torch.float64).sigmoid() * (end - start) + start
            ),
        }[kind]()
    else:
        return None
    # CogVideoX, which is recognised by its shift of the signal-to-noise ratio, rescales alphas_cumprod instead.
    if config.get("rescale_betas_zero_snr") and not config.get("snr_shift_scale"):
        level = _to_zero_snr((1 - betas).cumprod(0))
        betas = 1 - torch.cat([level[:1], level[1:] / level[:-1]])
    return betas


def _cosine_betas(count: int, most: float = 0.999) -> torch.Tensor:
    """β_i = min(1 − f((i+1)/T) / f(i/T), 0.999) with f(t) = cos²((t + 0.008)/1.008 · π/2).

    Source: Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models (2021), eq. 17.
    """
    place = torch.arange(count + 1, dtype=torch.float64) / count
    level = torch.cos((place + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - level[1:] / level[:-1]).clamp(max=most)


def _alphas_cumprod(betas: torch.Tensor, config: Any, table: torch.Tensor) -> torch.Tensor:
    """∏(1 − β) [T], with the shift and the last value of the scheduler."""
    level = (1 - betas).cumprod(0)
    shift = config.get("snr_shift_scale")
    if shift:
        level = level / (shift + (1 - shift) * level)
        if config.get("rescale_betas_zero_snr"):
            level = _to_zero_snr(level)
    if table[-1] == TINY:
        level[-1] = TINY
    return level


def _to_zero_snr(level: torch.Tensor) -> torch.Tensor:
    """alphas_cumprod with its square root shifted and scaled to end at 0 and to keep its first value.

    Source: Lin, Liu, Li and Yang, Common Diffusion Noise Schedules and Sample Steps are Flawed (2024),
    algorithm 1.
    """
    root = level.sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2


def _known_or_cast(computed: torch.Tensor | None, table: torch.Tensor, *, rtol: float = 1e-4) -> torch.Tensor:
    """`computed` if it equals the scheduler's `table` up to the rounding of a thousand float32 factors, else `table`."""
    if computed is None or computed.shape != table.shape:
        return table.double()
    computed = computed.to(table.device)
    same = torch.allclose(computed, table.double(), rtol=rtol, atol=5e-6)
    return computed if same else table.double()


def _noise_levels(level: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """σ = √((1−ᾱ)/ᾱ) at all training timesteps and, by interpolation, at the given ones; ascending float64."""
    table = DERIVED["sigmas"](level.double().cpu())
    place = timesteps.double().cpu().clamp(0, len(table) - 1)
    below = place.floor().long()
    above = place.ceil().long()
    between = table[below] + (table[above] - table[below]) * (place - below)
    return torch.cat([table, between]).sort().values


def _unrounded(rounded: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """`rounded` in float64, with each entry that is the float32 of one of `exact` (ascending) replaced by that."""
    values, single = rounded.cpu(), exact.float()
    nearest = torch.searchsorted(single, values.float()).clamp(max=len(single) - 1)
    return torch.where(single[nearest] == values, exact[nearest], values.double()).to(rounded.device)


def _cast(scheduler: Any) -> None:
    """Cast every float32 tensor of the scheduler, except its timesteps, to float64."""
    for name, value in vars(scheduler).items():
        if name != "timesteps" and isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(scheduler, name, value.double())


def _unclipped(scheduler: Any) -> Any:
    """A copy of the scheduler with clipping off."""
    scheduler = copy.deepcopy(scheduler)
    for clipping in ("clip_sample", "thresholding", "clip_denoised"):
        if scheduler.config.get(clipping):
            scheduler.register_to_config(**{clipping: False})
    return scheduler


def _stepped(scheduler: Any, index: int, x: torch.Tensor) -> torch.Tensor:
    """The state after step `index` from x [n, C, H, W] with the network F(x) = x/10."""
    timestep = scheduler.timesteps[index]
    # Flow matching schedulers do not scale.
    scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
    output = scaled / 10
    if learns_variance(scheduler):
        output = torch.cat([output, torch.zeros_like(output)], 1)
    accepted = inspect.signature(scheduler.step).parameters
    draws = {"generator": torch.Generator().manual_seed(index)} if "generator" in accepted else {}
    return scheduler.step(output, timestep, x, **draws).prev_sample
