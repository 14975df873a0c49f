"""Closed forms for the denoising of Gaussian data, derived from the betas, independent of the code under test."""

from __future__ import annotations

import math

import numpy as np

TRAINED = 1000
LEVELS = np.cumprod(1 - np.linspace(1e-4, 0.02, TRAINED))
"""ᾱ_t of diffusers' linear betas."""


def timesteps(steps: int) -> list[int]:
    """The timesteps of 1000 training steps with leading spacing, noisiest first."""
    return [k * (TRAINED // steps) for k in range(steps)][::-1]


def ddim_factors(eigenvalue: float, steps: int) -> np.ndarray:
    """The factor of each DDIM step along an eigenvector of the covariance; see `Gaussian`."""
    stride, factors = TRAINED // steps, []
    for t in timesteps(steps):
        now, then = LEVELS[t], LEVELS[t - stride] if t >= stride else 1.0
        spread = math.sqrt(now * then) * eigenvalue + math.sqrt((1 - now) * (1 - then))
        factors.append(spread / (now * eigenvalue + 1 - now))
    return np.array(factors)


def ddpm_factor(eigenvalue: float, steps: int) -> float:
    """The factor of the whole DDPM map under common noise along an eigenvector of the covariance."""
    first = LEVELS[timesteps(steps)[0]]
    return math.sqrt(first) * eigenvalue / (first * eigenvalue + 1 - first)
