"""The numbers of a scheduler in double precision.

diffusers keeps its tables in float32, which bounds any agreement with a closed form at about 1e-6. Here
they are computed again in float64. A table is taken only where it agrees with the scheduler's own to
float32's precision; else the scheduler's own values are cast, so that a schedule this module does not know
stays the one that was asked for.

What this cannot mend: some schedulers round the state to float32 inside `step` ("upcast to avoid precision
issues", written with half precision in mind), and what tells two states closer than 1e-7 apart is lost. In
diffusers 0.42: DPMSolverMultistep, EDMEuler, EulerDiscrete, EulerAncestralDiscrete, FlowMatchEulerDiscrete,
FlowMatchHeunDiscrete, FlowMatchLCM, LTXEulerAncestralRF, Piflow, and Helios and HeliosDMD in their Euler
steps. `keeps_double` finds out for the scheduler at hand by stepping it. With DPMSolverSinglestep, DEIS,
UniPC or Heun in place of the first and the Eulers, double precision lasts.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch

DERIVED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "alpha_t": lambda level: level.sqrt(),
    "sigma_t": lambda level: (1 - level).sqrt(),
    "lambda_t": lambda level: level.sqrt().log() - (1 - level).sqrt().log(),
    "sigmas": lambda level: ((1 - level) / level) ** 0.5,
}
ENDS = ("final_alpha_cumprod", "initial_alpha_cumprod")
TINY = 2.0**-24  # what some schedulers put in place of a last alphas_cumprod of 0, so that sigma stays finite


def in_double(scheduler: Any) -> None:
    """Replace a scheduler's float32 tables by float64 ones computed from its configuration.

    Those are betas, alphas, alphas_cumprod, what is taken from their ends (final_alpha_cumprod, …) and the
    alpha_t, sigma_t, lambda_t of the DPM-Solver, UniPC, DEIS and SA-Solver families; any other float32
    tensor is cast. Known are trained betas and the schedules linear, scaled_linear, squaredcos_cap_v2 and
    sigmoid, with or without rescaling to zero terminal SNR; of another, the betas are cast and multiplied
    up in float64. Call it before `set_timesteps`, on a scheduler of your own: it is changed in place.
    """
    own = getattr(scheduler, "alphas_cumprod", None)
    if isinstance(own, torch.Tensor) and isinstance(getattr(scheduler, "betas", None), torch.Tensor):
        betas = _known_or_cast(_betas(scheduler.config), scheduler.betas)
        level = _known_or_cast(_alphas_cumprod(betas.cpu(), scheduler.config, own), own)
        ends = {name: getattr(scheduler, name) for name in ENDS if hasattr(scheduler, name)}
        for name, end in ends.items():
            # The end is either 1 or the first entry of the table, as `set_alpha_to_one` has it.
            setattr(scheduler, name, level[0] if end == own[0] else end.double())
        scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = betas, 1 - betas, level
        for name, formula in DERIVED.items():
            table = getattr(scheduler, name, None)
            if isinstance(table, torch.Tensor):
                # Loose, since in float32 1 − ᾱ is itself off by a thousandth where ᾱ is almost 1.
                setattr(scheduler, name, _known_or_cast(formula(level), table, rtol=2e-3))
    _cast(scheduler)


def after_set_timesteps(scheduler: Any) -> None:
    """Bring what `set_timesteps` made in float32 to float64, once the tables are in double.

    A sigma that is the float32 rounding of a noise level of the training schedule, or of one interpolated
    at a timestep, becomes that level in full precision. Every other one (Karras, exponential, beta and flow
    spacings, the EDM and consistency families, IPNDM) is cast: arithmetic is then in double on a
    schedule whose numbers carry a relative rounding of 6e-8. Timesteps stay as they are: they name where
    the network is asked.
    """
    sigmas, level = getattr(scheduler, "sigmas", None), getattr(scheduler, "alphas_cumprod", None)
    if isinstance(sigmas, torch.Tensor) and isinstance(level, torch.Tensor):
        scheduler.sigmas = _unrounded(sigmas, _noise_levels(level, scheduler.timesteps))
    _cast(scheduler)


def keeps_double(scheduler: Any, *, steps: int = 4) -> bool:
    """Whether a float64 state keeps its digits through `step`, found by stepping copies of the scheduler.

    Before each step two states are set 1e-8 apart and two others, along the same direction, at distance 1.
    With a linear network and clipping off a step is affine, so that the first distance must come out as
    1e-8 of the second; a rounding of the state to float32 on the way makes it nothing, or 1e-7.
    The scheduler is left as it was.
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
    """The training schedule's betas [T] in float64, or None where the configuration names none known."""
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
    # CogVideoX, known by its shift of the signal-to-noise ratio, rescales alphas_cumprod instead of betas.
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


def _alphas_cumprod(betas: torch.Tensor, config: Any, own: torch.Tensor) -> torch.Tensor:
    """∏(1 − β) [T], with the shift and the ending that the scheduler gave it."""
    level = (1 - betas).cumprod(0)
    shift = config.get("snr_shift_scale")
    if shift:
        level = level / (shift + (1 - shift) * level)
        if config.get("rescale_betas_zero_snr"):
            level = _to_zero_snr(level)
    if own[-1] == TINY:
        level[-1] = TINY
    return level


def _to_zero_snr(level: torch.Tensor) -> torch.Tensor:
    """alphas_cumprod shifted and scaled, in its square root, to end at 0 and start where it did.

    Source: Lin, Liu, Li and Yang, Common Diffusion Noise Schedules and Sample Steps are Flawed (2024),
    algorithm 1.
    """
    root = level.sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2


def _known_or_cast(computed: torch.Tensor | None, own: torch.Tensor, *, rtol: float = 1e-4) -> torch.Tensor:
    """`computed` where it is `own` up to what float32 loses over a thousand factors, else `own` cast."""
    if computed is None or computed.shape != own.shape:
        return own.double()
    computed = computed.to(own.device)
    same = torch.allclose(computed, own.double(), rtol=rtol, atol=5e-6)
    return computed if same else own.double()


def _noise_levels(level: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """σ = √((1−ᾱ)/ᾱ) of every training timestep and, interpolated, of the given ones; ascending float64."""
    table = DERIVED["sigmas"](level.double().cpu())
    place = timesteps.double().cpu().clamp(0, len(table) - 1)
    below = place.floor().long()
    above = place.ceil().long()
    between = table[below] + (table[above] - table[below]) * (place - below)
    return torch.cat([table, between]).sort().values


def _unrounded(rounded: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """`rounded` in float64, each entry that is the float32 of one of `exact` (ascending) put back to it."""
    values, single = rounded.cpu(), exact.float()
    found = torch.searchsorted(single, values.float()).clamp(max=len(single) - 1)
    return torch.where(single[found] == values, exact[found], values.double()).to(rounded.device)


def _cast(scheduler: Any) -> None:
    """Every float32 tensor the scheduler holds, but for its timesteps, in float64."""
    for name, value in vars(scheduler).items():
        if name != "timesteps" and isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(scheduler, name, value.double())


def _unclipped(scheduler: Any) -> Any:
    """A copy of the scheduler that clips nothing."""
    scheduler = copy.deepcopy(scheduler)
    for clipping in ("clip_sample", "thresholding", "clip_denoised"):
        if scheduler.config.get(clipping):
            scheduler.register_to_config(**{clipping: False})
    return scheduler


def _stepped(scheduler: Any, index: int, x: torch.Tensor) -> torch.Tensor:
    """The state after step `index` from x [n, C, H, W] with the network F(x) = x/10."""
    timestep = scheduler.timesteps[index]
    # Flow matching schedulers scale nothing.
    scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
    output = scaled / 10
    if str(scheduler.config.get("variance_type", "")).startswith("learned"):
        output = torch.cat([output, torch.zeros_like(output)], 1)
    accepted = inspect.signature(scheduler.step).parameters
    draws = {"generator": torch.Generator().manual_seed(index)} if "generator" in accepted else {}
    return scheduler.step(output, timestep, x, **draws).prev_sample
