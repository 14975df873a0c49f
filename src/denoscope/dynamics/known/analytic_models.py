"""Networks with a denoising map that is known in closed form, for diffusers' own schedulers.

All predict ε in float64 and contain the noise levels ᾱ_t of their scheduler; `denoiser` joins the two. Their prediction is
the layer `prediction`, which can be recorded.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from denoscope.models.denoiser import Denoiser, Shape
from denoscope.models.loading import load
from denoscope.models.schedule_precision import in_double

Kind = Literal["ddim", "ddpm"]
Map = Callable[[torch.Tensor], torch.Tensor]
"""A function from points to points of the same shape, with their coordinates on axis 1 of [n, C, H, W]."""


def unclipped_scheduler(kind: Kind) -> Any:
    """diffusers' scheduler that the closed forms assume: 1000 linear betas, ε-prediction, no clipping."""
    import diffusers

    kinds = {"ddim": diffusers.DDIMScheduler, "ddpm": diffusers.DDPMScheduler}
    return kinds[kind](clip_sample=False)


def denoiser(network: nn.Module, scheduler: Any, shape: Shape, *, dtype: str = "float64") -> Denoiser:
    """An analytic network and the scheduler whose noise levels it contains, on the CPU."""
    return load(network, scheduler=scheduler, shape=shape, dtype=dtype, device="cpu")


def levels(scheduler: Any) -> torch.Tensor:
    """ᾱ_t [1000] of a scheduler in float64; the scheduler is not changed."""
    exact = copy.deepcopy(scheduler)
    in_double(exact)
    return exact.alphas_cumprod


class Gaussian(nn.Module):
    """ε* for data N(0, Σ), with the covariance Σ [size, size] of a flattened state.

    ε*(x, t) = √(1−ᾱ) · (ᾱ Σ + (1−ᾱ) I)⁻¹ x. The denoising map is linear: along an eigenvector of Σ with eigenvalue
    λ, one step of DDIM from ᾱ to ᾱ' multiplies by [√(ᾱ'ᾱ) λ + √((1−ᾱ')(1−ᾱ))] / (ᾱ λ + 1 − ᾱ). The whole DDPM map under
    common noise multiplies by √ᾱ_T λ / (ᾱ_T λ + 1 − ᾱ_T), with ᾱ_T of the first step, for any number of steps.

    Source: ε* = −√(1−ᾱ) ∇ ln p_t of the noised density N(0, ᾱ Σ + (1−ᾱ) I) (Song et al., ICLR 2021).
    """

    def __init__(self, covariance: torch.Tensor, scheduler: Any):
        super().__init__()
        self.covariance, self.levels = covariance.double(), levels(scheduler)
        self.prediction = nn.Identity()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        level = self.levels[int(timestep)]
        noised = level * self.covariance + (1 - level) * torch.eye(len(self.covariance), dtype=torch.float64)
        solved = torch.linalg.solve(noised, x.double().flatten(1).T).T
        return self.prediction(((1 - level).sqrt() * solved).reshape(x.shape).to(x.dtype))


class TwoGaussians(nn.Module):
    """ε* for the even mixture of N(m, s² I) and N(−m, s² I), with `mean` m [size] and `variance` s².

    With Δ = ᾱ s² + 1 − ᾱ, ε*(x, t) = √(1−ᾱ)/Δ · (x − √ᾱ m tanh(√ᾱ m·x/Δ)). The boundary between the two basins of
    DDIM is the hyperplane m·x_T = 0 for any number of steps, although differences along m grow hugely on it.

    Source: the gradient of the noised mixture's log density, as for `Gaussian`.
    """

    def __init__(self, mean: torch.Tensor, variance: float, scheduler: Any):
        super().__init__()
        self.mean, self.variance, self.levels = mean.double(), variance, levels(scheduler)
        self.prediction = nn.Identity()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        level = self.levels[int(timestep)]
        width, root = level * self.variance + 1 - level, level.sqrt()
        flat = x.double().flatten(1)
        pull = torch.tanh(root * (flat @ self.mean) / width)[:, None] * self.mean
        noise = (1 - level).sqrt() / width * (flat - root * pull)
        return self.prediction(noise.reshape(x.shape).to(x.dtype))


class Embedded(nn.Module):
    """A network with which each of the `steps` steps of DDIM applies a map F once.

    A step of DDIM is x' = a x + b ε with a = √(ᾱ'/ᾱ) and b = √(1−ᾱ') − √(ᾱ'(1−ᾱ)/ᾱ), so that ε(x, t) = (F(x) − a x)/b.
    Every pixel of a state [C, H, W] is a separate point with the channels as its C coordinates: one state can hold a whole
    plane of points.

    Source: the step is eq. 12 of Song, Meng and Ermon, Denoising Diffusion Implicit Models (2021), with σ = 0.
    """

    def __init__(self, step: Map, scheduler: Any, steps: int):
        super().__init__()
        self.step, self.levels, self.stride = step, levels(scheduler), len(levels(scheduler)) // steps
        self.prediction = nn.Identity()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        before = int(timestep)
        now = float(self.levels[before])
        then = float(self.levels[before - self.stride]) if before >= self.stride else 1.0
        a, b = math.sqrt(then / now), math.sqrt(1 - then) - math.sqrt(then * (1 - now) / now)
        return self.prediction((self.step(x) - a * x) / b)


class Linear(nn.Module):
    """A network with which one step leads from x to J x, with the `matrix` J [size, size] of a flattened state.

    It predicts x_0 = J x for schedulers whose prediction type is `sample`. With `flow` it predicts the velocity x − J x of
    flow matching, whose step x + (σ' − σ) v leads from σ = 1 to σ' = 0.
    """

    def __init__(self, matrix: torch.Tensor, *, flow: bool = False):
        super().__init__()
        self.matrix, self.flow = nn.Parameter(matrix), flow

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        image = (x.flatten(1) @ self.matrix.T).reshape(x.shape)
        return x - image if self.flow else image


def linear(
    matrix: np.ndarray, *, flow: bool = False, dtype: Literal["float32", "float64"] = "float64"
) -> Denoiser:
    """A denoiser whose map x_T → x_0 in one step is a matrix, through DDIM or, with `flow`, FlowMatchEuler.

    The latter rounds states to float32 inside its step, also those in float64.
    """
    import diffusers

    scheduler = (
        diffusers.FlowMatchEulerDiscreteScheduler()
        if flow
        else diffusers.DDIMScheduler(clip_sample=False, prediction_type="sample")
    )
    network = Linear(torch.from_numpy(matrix.astype(dtype)), flow=flow)
    return denoiser(network, scheduler, (1, 1, len(matrix)), dtype=dtype)


def embedded(step: Map, steps: int, shape: Shape) -> Denoiser:
    """A DDIM denoiser whose map x_T → x_0 in `steps` steps is `steps` iterations of F."""
    scheduler = unclipped_scheduler("ddim")
    return denoiser(Embedded(step, scheduler, steps), scheduler, shape)


def henon(x: torch.Tensor) -> torch.Tensor:
    """(p, q) → (1 − 1.4 p² + q, 0.3 p). Source: Hénon, Commun. Math. Phys. 50, 69 (1976)."""
    p, q = x.unbind(1)
    return torch.stack((1 - 1.4 * p**2 + q, 0.3 * p), 1)


def cat(x: torch.Tensor) -> torch.Tensor:
    """(p, q) → (2p + q, p + q) modulo 1. Source: Arnold and Avez, Ergodic Problems of Classical Mechanics (1968)."""
    p, q = x.unbind(1)
    return torch.stack((2 * p + q, p + q), 1) % 1


def newton(x: torch.Tensor) -> torch.Tensor:
    """z → z − (z³ − 1)/(3z²), z = p + iq: Newton's method for the cube roots of 1."""
    z = torch.complex(*x.unbind(1))
    z = z - (z**3 - 1) / (3 * z**2)
    return torch.stack((z.real, z.imag), 1)


def logistic(r: float) -> Map:
    """x → r x (1 − x). Source: May, Nature 261, 459 (1976)."""
    return lambda x: r * x * (1 - x)


def nearest_root(x: np.ndarray) -> np.ndarray:
    """The index 0, 1 or 2 of the nearest cube root of 1, for points [2, …]."""
    roots = np.exp(2j * np.pi * np.arange(3) / 3)
    return np.abs((x[0] + 1j * x[1])[..., None] - roots).argmin(-1)
