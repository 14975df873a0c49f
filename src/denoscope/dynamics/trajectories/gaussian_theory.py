"""What denoising would do if the data were Gaussian with a given covariance: curves to lay over measured ones."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from denoscope.config import InferenceConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.loading import load
from denoscope.models.schedule import in_double
from denoscope.models.schedulers import keeps_no_history
from denoscope.sampling.loop import denoise

PREDICTIONS = ("epsilon", "sample", "v_prediction")
LOST = 1e-14
"""Share of a direction's largest gain, below which its last one is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CovarianceSpectrum(Result):
    """Eigenvalues [numbers] of the covariance of images, the largest first, and the images' mean [C, H, W]."""

    eigenvalues: np.ndarray
    mean: np.ndarray


def covariance_spectrum(images: Any) -> CovarianceSpectrum:
    """The eigenvalues of the covariance of images [n, C, H, W], data or a model's own samples (`rec.final`).

    λ_i are the eigenvalues of Σ (x − μ)(x − μ)ᵀ/(n − 1); n images leave all but n − 1 of them at exactly 0. In squared
    units of a pixel.

    How to read it: natural images have a few large eigenvalues, and most below 1. When it misleads: from n images of
    d numbers the largest are estimated too large and the smallest too small, by a factor (1 ± √(d/n))² where all are
    alike; warned of under 10·d images. What it says of the smallest is then little.

    Raises: UserError if there are fewer than two images, or one is not finite.

    Source: Marchenko and Pastur, Math. USSR Sbornik 1, 457 (1967), for the bias.
    """
    array = parse_numbers(images, "images")
    if array.ndim < 2 or len(array) < 2:
        raise UserError(f"images have shape {list(array.shape)}; at least two are needed: [n, C, H, W]")
    flat = array.reshape(len(array), -1)
    n, d = flat.shape
    values = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2 / (n - 1)
    eigenvalues = np.zeros(d)
    # One direction goes with the mean: of n centred images only n − 1 are independent.
    kept = min(n - 1, d)
    eigenvalues[:kept] = values[:kept]
    warnings: tuple[str, ...] = ()
    if n < 10 * d:
        warnings = (
            f"{n} images of {d} numbers: the largest eigenvalues are too large and the smallest too small"
            + (f", {d - kept} of them exactly 0" if kept < d else ""),
        )
    return CovarianceSpectrum(
        eigenvalues=eigenvalues,
        mean=flat.mean(0).reshape(array.shape[1:]),
        origin={"images": n, "numbers": d},
        warnings=warnings,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianTheory(Result):
    """The denoising of Gaussian data, along the eigenvectors of their covariance, the largest `eigenvalues` [d] first.

    `gains` [d, state] is what a difference of x_T along an eigenvector is multiplied with up to each state (in state 0
    by what the scheduler multiplies x_T with before its first step, such as Euler's σ or √(σ² + 1)). `timesteps` [step]
    and `sigmas` [step], noise levels √((1−ᾱ)/ᾱ), are those that each step begins with. `stochastic` says whether steps
    add noise, `remembers` whether they depend on earlier ones.
    """

    eigenvalues: np.ndarray
    gains: np.ndarray
    timesteps: np.ndarray
    sigmas: np.ndarray
    stochastic: bool
    remembers: bool

    @property
    def exponents(self) -> np.ndarray:
        """Natural logarithms of the whole map's singular values [d], the largest first, as `spectrum` measures them; −∞
        where only rounding is left, as along directions in which the data do not vary at all."""
        sizes = np.abs(self.gains)
        with np.errstate(divide="ignore"):
            return np.sort(np.log(np.where(sizes[:, -1] > LOST * sizes.max(1), sizes[:, -1], 0)))[::-1]

    @property
    def separation(self) -> np.ndarray:
        """How far apart a pair is by state [state], over its separation in state 0, in the root mean square over random
        directions: to lie over the separations of `divergence`."""
        squared = (self.gains**2).mean(0)
        return np.sqrt(squared / squared[0])

    @property
    def turn_distance(self) -> np.ndarray:
        """‖x_0' − x_0‖ [step], L2 in the root mean square over data and noises, of images that are noised to the level of
        a step and denoised again: to lie over the distances of `u_turn`. NaN where steps add noise of their own, or where
        the scheduler remembers earlier steps, so that it does not go on from a level as it came by it.

        With G the gain of the steps that are left and images noised to a x_0 + b ε, Σ_λ (G a − 1)² λ + G² b²; a is √ᾱ and
        b √(1−ᾱ), or 1 and σ where the scheduler's states are x_0 + σ ε.
        """
        if self.stochastic or self.remembers:
            return np.full(len(self.sigmas), np.nan)
        left = self.gains[:, -1:] / self.gains[:, :-1]
        a, b = np.ones_like(self.sigmas), self.sigmas
        if self.gains[0, 0] == 1:
            a = 1 / np.sqrt(1 + self.sigmas**2)
            b = np.sqrt(1 - a**2)  # not a σ, for at ᾱ = 0 that is 0 · ∞
        squared = (left * a - 1) ** 2 * self.eigenvalues[:, None] + (left * b) ** 2
        return np.sqrt(squared.sum(0))


@accepts_num_steps
def gaussian_theory(
    denoiser: Denoiser, covariance: Any, *, steps: int = InferenceConfig.num_steps
) -> GaussianTheory:
    """How differences of x_T grow, step by step, if the data were Gaussian and the network perfect.

    For data N(μ, Σ) the best estimate of x_0 is linear, and each step of the denoiser's own scheduler multiplies a
    difference along an eigenvector of Σ by a number of its eigenvalue λ alone. For DDIM it is
    [√(ᾱ'ᾱ) λ + √((1−ᾱ')(1−ᾱ))]/(ᾱλ + 1 − ᾱ) from ᾱ to ᾱ'; for DDPM with common noise the whole map has
    √ᾱ_T λ/(ᾱ_T λ + 1 − ᾱ_T), whatever the number of steps. Here the scheduler itself is run, in float64, with that
    linear estimate in the place of the network and nothing clipped; other schedulers of diffusers' that know ᾱ
    do as well.

    How to read it: as a line over measured exponents and separations. Where they lie above it, the data are not
    Gaussian there: classes and details are being decided. When it misleads: with the covariance of the model's samples
    it knows what the model makes of its data, mistakes included; with that of few images its smallest exponents are
    those of the sample (`covariance_spectrum`).

    Args:
        denoiser: whose scheduler is run; its network is not asked.
        covariance: all eigenvalues [d], a CovarianceSpectrum, or a matrix [d, d], of d = C·H·W.

    Raises: UserError if the scheduler has no ᾱ, or the covariance is none, or one of images of another size.

    Source: Song et al., ICLR 2021, for the score; Wang and Vastola, TMLR (2024), for the solution along eigenvectors.
    """
    need_levels(denoiser)
    values, numbers = eigenvalues_of(covariance), math.prod(denoiser.shape)
    if len(values) != numbers:
        raise UserError(
            f"covariance has {len(values)} eigenvalues, and the images of {denoiser.name} {list(denoiser.shape)} have "
            f"{numbers} numbers; give that of such images: covariance_spectrum(images)"
        )
    own = _unclipped(denoiser.scheduler)
    network = _Diagonal(values, own)
    linear = load(network, scheduler=own, shape=(1, 1, len(values)), dtype="float64", device="cpu")
    start = torch.ones(1, 1, 1, len(values), dtype=torch.float64)
    # The map is affine, for a stochastic scheduler adds noise: its linear part is the difference of two runs.
    runs = [list(denoise(linear, size * start, steps=steps, lanes=1)) for size in (1.0, 0.0)]
    states = [
        np.stack([run[0].x_before.numpy(), *(step.x_after.numpy() for step in run)]).reshape(len(run) + 1, -1)
        for run in runs
    ]
    return GaussianTheory(
        eigenvalues=values,
        gains=(states[0] - states[1]).T,
        timesteps=np.array([step.timestep for step in runs[0]]),
        sigmas=np.array([step.sigma for step in runs[0]]),
        stochastic=bool(np.any(states[1] != 0)),
        remembers=not keeps_no_history(own),
        origin={"scheduler": type(own).__name__, "steps": steps, "numbers": len(values)},
        warnings=covariance.warnings if isinstance(covariance, CovarianceSpectrum) else (),
    )


def eigenvalues_of(covariance: Any) -> np.ndarray:
    """The eigenvalues [d], the largest first, of whatever a covariance is given as."""
    given = covariance.eigenvalues if isinstance(covariance, CovarianceSpectrum) else covariance
    array = parse_numbers(given, "covariance")
    if array.ndim == 2 and array.shape[0] == array.shape[1] and np.allclose(array, array.T):
        array = np.linalg.eigvalsh(array)
    if array.ndim != 1 or not array.size:
        raise UserError(
            f"covariance has shape {list(array.shape)}; allowed: eigenvalues [d], or a symmetric matrix [d, d]"
        )
    rounding = 1e-12 * np.abs(array).max()
    if array.min() < -rounding:
        raise UserError(
            f"covariance has the eigenvalue {array.min():.3g}; those of a covariance are at least 0"
        )
    return np.sort(np.maximum(array, 0))[::-1].copy()


def need_levels(denoiser: Denoiser) -> None:
    """Refuse a denoiser whose scheduler has no ᾱ."""
    check_denoiser(denoiser)
    scheduler: Any = denoiser.scheduler
    kind = scheduler.config.get("prediction_type", "epsilon")
    if not isinstance(getattr(scheduler, "alphas_cumprod", None), torch.Tensor) or kind not in PREDICTIONS:
        raise UserError(
            f"{type(scheduler).__name__} has no closed form here; allowed: schedulers with alphas_cumprod that take "
            f"{', '.join(PREDICTIONS)}, such as DDIM and DDPM"
        )


def _unclipped(scheduler: Any) -> Any:
    """The scheduler with no bound on its estimate of x_0."""
    free = {"clip_sample": False, "thresholding": False}
    changes = {name: value for name, value in free.items() if name in scheduler.config}
    return type(scheduler).from_config(scheduler.config, **changes)


class _Diagonal(nn.Module):
    """What a perfect network predicts of data N(0, diag(λ)), as its scheduler wants it."""

    def __init__(self, eigenvalues: np.ndarray, own: Any):
        super().__init__()
        exact = copy.deepcopy(own)
        in_double(exact)
        self.levels, self.kind = exact.alphas_cumprod, own.config.get("prediction_type", "epsilon")
        self.eigenvalues = torch.from_numpy(eigenvalues)

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        level = self._level(float(timestep))
        solved = x / (level * self.eigenvalues + 1 - level)
        noise, x_0 = (1 - level).sqrt() * solved, level.sqrt() * self.eigenvalues * solved
        if self.kind == "sample":
            return x_0
        return noise if self.kind == "epsilon" else level.sqrt() * noise - (1 - level).sqrt() * x_0

    def _level(self, timestep: float) -> torch.Tensor:
        if timestep != round(timestep):
            raise UserError(
                f"the scheduler asks its network at timestep {timestep:g}, where ᾱ is not tabled; take DDIM or DDPM, "
                "or timestep_spacing='leading'"
            )
        return self.levels[int(timestep)]
