"""The denoising loop: from x_T to x_0, one Step at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from denoscope import arithmetic, seeds
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.errors import UserError
from denoscope.layers import find
from denoscope.schedulers import scaled, starting_sigma, stepped
from denoscope.stages import stages
from denoscope.taps import Tapped, tapped

NoiseKind = Literal["common", "independent"]


@dataclass(frozen=True, eq=False)
class Step:
    """One denoising step of a batch: step `index` turned `x_before` into `x_after`.

    States are [n, C, H, W]. `x_0_estimate` is the scheduler's guess of x_0, None where it makes none;
    `states` maps each tapped layer to what it put out, [n, …].
    """

    index: int
    timestep: float
    sigma: float
    x_before: torch.Tensor
    x_after: torch.Tensor
    model_output: torch.Tensor
    x_0_estimate: torch.Tensor | None
    states: Mapping[str, torch.Tensor] = field(default_factory=dict)


class _Lanes:
    """Up to `lanes` samples that go through the network together, padded to exactly that many rows.

    The last bits of a network's output change with the number of rows it is called with, but not with
    a row's position or neighbours; with a fixed number of rows they cannot depend on the batch.
    """

    def __init__(self, denoiser: Denoiser, x_T: torch.Tensor, names: Sequence[str], loop: Loop):
        self.network_dtype, self.names, self.tf32 = denoiser.dtype, names, loop.tf32
        dtype = loop.state_dtype(denoiser)
        self.scheduler = denoiser.new_scheduler(loop.steps, dtype=dtype)
        padding = x_T[-1:].expand(loop.lanes - len(x_T), *x_T.shape[1:])
        rows = torch.cat([x_T, padding]).to(device=denoiser.device, dtype=dtype)
        self.x = rows * starting_sigma(self.scheduler)

    def step(self, index: int, network: Tapped, draws: _Draws) -> Step:
        scheduler, x, timestep = self.scheduler, self.x, self.scheduler.timesteps[index]
        sigma = noise_level(scheduler, index)
        with arithmetic.exact(x.device, tf32=self.tf32):
            seen = scaled(scheduler, x, timestep).to(self.network_dtype)
            model_output, states = network(seen, timestep)
            model_output = model_output.to(x.dtype)
            generators = draws.of_step(index, self.names, len(x))
            result = stepped(scheduler, index, model_output, x, generators)
        self.x = result.prev_sample
        estimate = getattr(result, "pred_original_sample", None)
        n = len(self.names)
        return Step(
            index=index,
            timestep=float(timestep),
            sigma=sigma,
            x_before=x[:n],
            x_after=self.x[:n],
            model_output=model_output[:n],
            x_0_estimate=None if estimate is None else estimate[:n],
            states={address: state[:n] for address, state in states.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How the loop runs: everything beside the denoiser and x_T that decides its bits."""

    steps: int = InferenceConfig.num_steps
    noise: NoiseKind = InferenceConfig.noise
    noise_seed: int = SystemConfig.seed
    lanes: int = InferenceConfig.lanes
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype
    tf32: bool = InferenceConfig.tf32

    def state_dtype(self, denoiser: Denoiser) -> torch.dtype:
        """The precision of the states between steps."""
        return denoiser.dtype if self.sampler_dtype == "auto" else getattr(torch, self.sampler_dtype)


@dataclass(frozen=True)
class _Draws:
    """The noise of stochastic schedulers: one generator a row, so that no row depends on another."""

    kind: NoiseKind
    seed: int

    def of_step(self, index: int, names: Sequence[str], rows: int) -> list[torch.Generator]:
        if self.kind == "common":
            return [seeds.generator("step noise", self.seed, index) for _ in range(rows)]
        padded = list(names) + [names[-1]] * (rows - len(names))
        return [seeds.generator(f"step noise of {name}", self.seed, index) for name in padded]


def denoise(
    denoiser: Denoiser,
    x_T: torch.Tensor,
    *,
    steps: int = InferenceConfig.num_steps,
    layers: Sequence[str] = (),
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    names: Sequence[str] | None = None,
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
) -> Iterator[Step]:
    """Denoise x_T [n, C, H, W], yielding each Step as it is done.

    With a deterministic scheduler this is diffusers' own loop, bit for bit, for a batch of `lanes` rows:
    the network is always called with that many, so a sample's bits do not depend on n, on its place in
    the batch or on its neighbours.

    >>> for step in denoise(denoiser, x.batch(range(4)), steps=50):
    ...     print(step.index, step.timestep, step.x_after.std())

    Args:
        layers: addresses of modules whose outputs each Step carries in `states`.
        noise: what a stochastic scheduler adds. "common": one draw a step for all samples, from
            (noise_seed, step), so that x_0 is a function of x_T alone. "independent": one draw for each
            sample, from (noise_seed, name, step).
        names: of the samples; needed for independent noise.
        lanes: rows of every network call.
        sampler_dtype: precision of the states between steps and of the schedule; "auto" is the network's.
        tf32: let CUDA round the factors of products to 10 bits.

    Raises:
        UserError: if the shape of x_T does not fit the denoiser, or an option is out of range.
    """
    loop = Loop(
        steps=steps, noise=noise, noise_seed=noise_seed, lanes=lanes, sampler_dtype=sampler_dtype, tf32=tf32
    )
    InferenceConfig(num_steps=steps, noise=noise, lanes=lanes, sampler_dtype=sampler_dtype, tf32=tf32)
    addresses = find([layer.address for layer in denoiser.layers()], layers) if layers else []
    return _denoise(denoiser, x_T, loop, addresses, names)


def _denoise(
    denoiser: Denoiser, x_T: torch.Tensor, loop: Loop, addresses: Sequence[str], names: Sequence[str] | None
) -> Iterator[Step]:
    with tapped(denoiser.network, addresses) as network:
        yield from steps_of(denoiser, network, x_T, loop, names)


@torch.no_grad()
def steps_of(
    denoiser: Denoiser, network: Tapped, x_T: torch.Tensor, loop: Loop, names: Sequence[str] | None = None
) -> Iterator[Step]:
    """The loop itself, over a network that is tapped already; see `denoise`."""
    if x_T.ndim != 4 or tuple(x_T.shape[1:]) != tuple(denoiser.shape) or len(x_T) == 0:
        needed = f"[n, {', '.join(map(str, denoiser.shape))}]"
        raise UserError(f"x_T has shape {list(x_T.shape)}; {denoiser.name} takes {needed}")
    if names is None:
        if loop.noise == "independent":
            raise UserError("independent noise is drawn from the samples' names; give names=[…]")
        names = [""] * len(x_T)
    if len(names) != len(x_T):
        raise UserError(f"names has {len(names)} entries for {len(x_T)} samples; give one for each")
    draws = _Draws(loop.noise, loop.noise_seed)
    lanes = loop.lanes
    groups = [
        _Lanes(denoiser, x_T[k : k + lanes], names[k : k + lanes], loop) for k in range(0, len(x_T), lanes)
    ]
    for index in range(len(stages(groups[0].scheduler, loop.steps))):
        yield _joined([group.step(index, network, draws) for group in groups])


def sample(denoiser: Denoiser, x_T: torch.Tensor, **options: Any) -> torch.Tensor:
    """x_0 [n, C, H, W] alone, from x_T [n, C, H, W]; takes the options of `denoise`."""
    x_0 = x_T
    for step in denoise(denoiser, x_T, **options):
        x_0 = step.x_after
    return x_0


def noise_level(scheduler: Any, index: int) -> float:
    """The noise level σ of step `index`: √((1−ᾱ)/ᾱ), or the scheduler's own where it keeps sigmas."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and index < len(sigmas):
        return float(sigmas[index])
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return float("nan")
    level = float(alphas[int(scheduler.timesteps[index])])
    return ((1 - level) / level) ** 0.5 if level > 0 else float("inf")


def _joined(parts: list[Step]) -> Step:
    """One Step of the whole batch from those of its lanes."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    estimates = [part.x_0_estimate for part in parts]
    return Step(
        index=first.index,
        timestep=first.timestep,
        sigma=first.sigma,
        x_before=torch.cat([part.x_before for part in parts]),
        x_after=torch.cat([part.x_after for part in parts]),
        model_output=torch.cat([part.model_output for part in parts]),
        x_0_estimate=None
        if first.x_0_estimate is None
        else torch.cat([e for e in estimates if e is not None]),
        states={address: torch.cat([part.states[address] for part in parts]) for address in first.states},
    )
