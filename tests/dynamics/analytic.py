"""Networks whose denoising map is known in closed form, and what it is."""

import math

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler

import denoscope as ds

KINDS = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}


def scheduler_of(kind: str):
    return KINDS[kind](clip_sample=False)


def levels(scheduler) -> np.ndarray:
    """ᾱ of every training timestep, in double precision from the betas' definition."""
    betas = np.linspace(scheduler.config.beta_start, scheduler.config.beta_end, 1000)
    return np.cumprod(1 - betas)


class Gaussian(torch.nn.Module):
    """ε* for data N(0, Σ) with Σ given by its eigenvalues along pixels, or as a whole matrix."""

    def __init__(self, covariance: torch.Tensor, scheduler):
        super().__init__()
        covariance = covariance.double()
        self.covariance = torch.diag(covariance) if covariance.ndim == 1 else covariance
        self.levels = torch.from_numpy(levels(scheduler))
        self.last = torch.nn.Identity()

    def forward(self, x, timestep):
        level = self.levels[int(timestep)]
        whole = level * self.covariance + (1 - level) * torch.eye(len(self.covariance)).double()
        flat = x.double().flatten(1)
        return self.last(
            ((1 - level).sqrt() * torch.linalg.solve(whole, flat.T).T).reshape(x.shape).to(x.dtype)
        )


class TwoGaussians(torch.nn.Module):
    """ε* for the even mixture of N(±m, s² I)."""

    def __init__(self, mean: torch.Tensor, variance: float, scheduler):
        super().__init__()
        self.mean, self.variance = mean.double(), variance
        self.levels = torch.from_numpy(levels(scheduler))

    def forward(self, x, timestep):
        level = self.levels[int(timestep)]
        width = level * self.variance + 1 - level
        flat, root = x.double().flatten(1), level.sqrt()
        pull = torch.tanh(root * (flat @ self.mean) / width)[:, None] * self.mean
        return ((1 - level).sqrt() / width * (flat - root * pull)).reshape(x.shape).to(x.dtype)


def denoiser_of(module: torch.nn.Module, scheduler, width: int, dtype: str = "float64") -> ds.Denoiser:
    return ds.load(module, scheduler=scheduler, shape=(1, 1, width), dtype=dtype, device="cpu")


def gaussian(covariance, kind: str = "ddim") -> ds.Denoiser:
    scheduler = scheduler_of(kind)
    covariance = torch.as_tensor(covariance, dtype=torch.float64)
    return denoiser_of(Gaussian(covariance, scheduler), scheduler, len(covariance))


def timesteps(steps: int) -> list[int]:
    """Of 1000 training steps, leading spacing."""
    return [k * (1000 // steps) for k in range(steps)][::-1]


def ddim_factors(eigenvalue: float, steps: int) -> np.ndarray:
    """g_t(λ) of each DDIM step."""
    every, stride = levels(scheduler_of("ddim")), 1000 // steps
    factors = []
    for t in timesteps(steps):
        now, then = every[t], every[t - stride] if t >= stride else 1.0
        spread = math.sqrt(now * then) * eigenvalue + math.sqrt((1 - now) * (1 - then))
        factors.append(spread / (now * eigenvalue + 1 - now))
    return np.array(factors)


def ddpm_factor(eigenvalue: float, steps: int) -> float:
    """Of the whole map under common noise."""
    first = levels(scheduler_of("ddpm"))[timesteps(steps)[0]]
    return math.sqrt(first) * eigenvalue / (first * eigenvalue + 1 - first)
