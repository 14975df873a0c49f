"""Denoisers whose map is known in closed form, and their closed forms, independent of the package."""

import math

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler

import denoscope as ds
from denoscope.dynamics.known.analytic_models import Gaussian

KINDS = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}


def scheduler_of(kind: str):
    return KINDS[kind](clip_sample=False)


def levels(scheduler) -> np.ndarray:
    """ᾱ of every training timestep, in double precision from the betas' definition."""
    betas = np.linspace(scheduler.config.beta_start, scheduler.config.beta_end, 1000)
    return np.cumprod(1 - betas)


def denoiser_of(module: torch.nn.Module, scheduler, width: int, dtype: str = "float64") -> ds.Denoiser:
    return ds.load(module, scheduler=scheduler, shape=(1, 1, width), dtype=dtype, device="cpu")


def gaussian(covariance, kind: str = "ddim") -> ds.Denoiser:
    scheduler = scheduler_of(kind)
    covariance = torch.as_tensor(covariance, dtype=torch.float64)
    whole = torch.diag(covariance) if covariance.ndim == 1 else covariance
    return denoiser_of(Gaussian(whole, scheduler), scheduler, len(covariance))


def some(width: int, seed: int = 0) -> torch.Tensor:
    """A random state [1, 1, 1, width]."""
    return torch.randn(1, 1, 1, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def timesteps(steps: int) -> list[int]:
    """Timesteps of 1000 training steps with leading spacing, noisiest first."""
    return [k * (1000 // steps) for k in range(steps)][::-1]


def ddim_factors(eigenvalue: float, steps: int) -> np.ndarray:
    """The factor g_t(λ) of each DDIM step."""
    every, stride = levels(scheduler_of("ddim")), 1000 // steps
    factors = []
    for t in timesteps(steps):
        now, then = every[t], every[t - stride] if t >= stride else 1.0
        spread = math.sqrt(now * then) * eigenvalue + math.sqrt((1 - now) * (1 - then))
        factors.append(spread / (now * eigenvalue + 1 - now))
    return np.array(factors)


def ddpm_factor(eigenvalue: float, steps: int) -> float:
    """The factor of the whole DDPM map under common noise."""
    first = levels(scheduler_of("ddpm"))[timesteps(steps)[0]]
    return math.sqrt(first) * eigenvalue / (first * eigenvalue + 1 - first)
