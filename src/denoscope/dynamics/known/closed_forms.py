"""What theory says of the denoising of Gaussian data: written down from the betas, apart from what is tested."""

from __future__ import annotations

import math

import numpy as np

TRAINED = 1000
LEVELS = np.cumprod(1 - np.linspace(1e-4, 0.02, TRAINED))
"""ᾱ_t of diffusers' linear betas."""


def timesteps(steps: int) -> list[int]:
    """Of 1000 training steps, leading spacing, noisiest first."""
    return [k * (TRAINED // steps) for k in range(steps)][::-1]


def ddim_factors(eigenvalue: float, steps: int) -> np.ndarray:
    """By what each step of DDIM multiplies along an eigenvector of the covariance; see `Gaussian`."""
    stride, factors = TRAINED // steps, []
    for t in timesteps(steps):
        now, then = LEVELS[t], LEVELS[t - stride] if t >= stride else 1.0
        spread = math.sqrt(now * then) * eigenvalue + math.sqrt((1 - now) * (1 - then))
        factors.append(spread / (now * eigenvalue + 1 - now))
    return np.array(factors)


def ddpm_factor(eigenvalue: float, steps: int) -> float:
    """By what all of DDPM under common noise multiplies along an eigenvector of the covariance."""
    first = LEVELS[timesteps(steps)[0]]
    return math.sqrt(first) * eigenvalue / (first * eigenvalue + 1 - first)
