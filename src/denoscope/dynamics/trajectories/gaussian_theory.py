"""The denoising of Gaussian data with a given covariance, for comparison with measured curves."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from denoscope.config import InferenceConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.trajectories.covariance_spectrum import CovarianceSpectrum, eigenvalues_of
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.loading import load
from denoscope.models.schedule_precision import in_double
from denoscope.models.schedulers import keeps_no_history
from denoscope.sampling.loop import denoise

PREDICTIONS = ("epsilon", "sample", "v_prediction")
LOST = 1e-14
"""A last gain below this share of the largest gain along its direction is rounding error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianTheory(Result):
    """The denoising of Gaussian data along the eigenvectors of their covariance, in descending order of `eigenvalues` [d].

    `gains` [d, state] are the factors by which a difference of x_T along an eigenvector has grown in each state (in state 0
    the factor by which the scheduler multiplies x_T before its first step, such as σ or √(σ² + 1) for Euler). `timesteps`
    [step] and `sigmas` [step], noise levels √((1−ᾱ)/ᾱ), are those before each step. `stochastic` is whether steps add
    noise, `remembers` whether they depend on earlier steps.
    """

    rows: ClassVar[Mapping[str, str]] = {
        "eigenvalues": "eigenvector",
        "gains": "eigenvector",
        "timesteps": "step",
        "sigmas": "step",
    }
    eigenvalues: np.ndarray
    gains: np.ndarray
    timesteps: np.ndarray
    sigmas: np.ndarray
    stochastic: bool
    remembers: bool

    @property
    def exponents(self) -> np.ndarray:
        """Natural logarithms of the singular values [d] of the whole map in descending order, as `spectrum` measures them.

        They are −∞ along directions in which only rounding error is left, because the data do not vary.
        """
        sizes = np.abs(self.gains)
        with np.errstate(divide="ignore"):
            return np.sort(np.log(np.where(sizes[:, -1] > LOST * sizes.max(1), sizes[:, -1], 0)))[::-1]

    @property
    def separation(self) -> np.ndarray:
        """The separation of a pair in each state [state] relative to state 0, for comparison with `divergence`.

        It is the root mean square over random directions.
        """
        squared = (self.gains**2).mean(0)
        return np.sqrt(squared / squared[0])

    @property
    def turn_distance(self) -> np.ndarray:
        """‖x_0' − x_0‖ [step] of images that are noised to the level of a step and denoised, to compare with `u_turn`.

        L2, as root mean square over data and noises: √(Σ_λ (G a − 1)² λ + G² b²) for the gain G of the remaining steps and
        images noised to a x_0 + b ε, where a = √ᾱ and b = √(1−ᾱ), or a = 1 and b = σ for schedulers whose states are
        x_0 + σ ε. NaN if steps add noise or depend on earlier steps, so that they cannot start from a noised image.
        """
        if self.stochastic or self.remembers:
            return np.full(len(self.sigmas), np.nan)
        remaining = self.gains[:, -1:] / self.gains[:, :-1]
        a, b = np.ones_like(self.sigmas), self.sigmas
        if self.gains[0, 0] == 1:
            a = 1 / np.sqrt(1 + self.sigmas**2)
            b = np.sqrt(1 - a**2)  # a σ is 0 · ∞ at ᾱ = 0
        squared = (remaining * a - 1) ** 2 * self.eigenvalues[:, None] + (remaining * b) ** 2
        return np.sqrt(squared.sum(0))


@accepts_num_steps
@arguments_checked
def gaussian_theory(
    denoiser: Denoiser, covariance: Any, *, steps: int = InferenceConfig.num_steps
) -> GaussianTheory:
    """How differences of x_T would grow step by step if the data were Gaussian and the network perfect.

    For data N(μ, Σ) the best estimate of x_0 is linear, and each step of the scheduler multiplies a difference along an
    eigenvector of Σ by a factor that depends only on its eigenvalue λ. For DDIM the factor from ᾱ to ᾱ' is
    [√(ᾱ'ᾱ) λ + √((1−ᾱ')(1−ᾱ))]/(ᾱλ + 1 − ᾱ); for DDPM with common noise the whole map has
    √ᾱ_T λ/(ᾱ_T λ + 1 − ᾱ_T), whatever the number of steps. The denoiser's own scheduler is run in float64 on the linear
    estimate, without clipping, so that other diffusers schedulers with ᾱ work as well.

    Interpretation: a line to compare with measured exponents and separations. Where these are larger, the data are not
    Gaussian: classes and details are being decided.

    Caveats: the covariance of a model's samples includes the errors of the model. That of few images makes the smallest
    exponents those of the sample (`covariance_spectrum`).

    Args:
        denoiser: its scheduler is run, its network is not.
        covariance: all eigenvalues [d], a CovarianceSpectrum, or a matrix [d, d], where d = C·H·W.

    Raises: UserError if the scheduler has no ᾱ, or the covariance is invalid or that of images of another size.

    Source: Song et al., ICLR 2021, for the score; Wang and Vastola, TMLR (2024), for the solution along eigenvectors.
    """
    check_levels(denoiser)
    values, numbers = eigenvalues_of(covariance), math.prod(denoiser.shape)
    if len(values) != numbers:
        raise UserError(
            f"covariance has {len(values)} eigenvalues; allowed: {numbers}, one for each number of an image of "
            f"{denoiser.name} {list(denoiser.shape)}; give covariance_spectrum(images)"
        )
    scheduler = _unclipped(denoiser.scheduler)
    network = _Diagonal(values, scheduler)
    linear = load(network, scheduler=scheduler, shape=(1, 1, len(values)), dtype="float64", device="cpu")
    start = torch.ones(1, 1, 1, len(values), dtype=torch.float64)
    # The noise of a stochastic scheduler makes the map affine; the difference of two runs is its linear part.
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
        remembers=not keeps_no_history(scheduler),
        origin={"scheduler": type(scheduler).__name__, "steps": steps, "numbers": len(values)},
        warnings=covariance.warnings if isinstance(covariance, CovarianceSpectrum) else (),
    )


def check_levels(denoiser: Denoiser) -> None:
    """Refuse a denoiser whose scheduler has no ᾱ, or predicts anything other than noise, x_0 or v."""
    check_denoiser(denoiser)
    scheduler: Any = denoiser.scheduler
    kind = scheduler.config.get("prediction_type", "epsilon")
    if not isinstance(vars(scheduler).get("alphas_cumprod"), torch.Tensor) or kind not in PREDICTIONS:
        raise UserError(
            f"{type(scheduler).__name__} has no Gaussian theory; allowed: schedulers with "
            f"alphas_cumprod, such as DDIM and DDPM, that predict {', '.join(PREDICTIONS)}"
        )


def _unclipped(scheduler: Any) -> Any:
    """A copy of the scheduler that does not clip its estimate of x_0."""
    free = {"clip_sample": False, "thresholding": False}
    changes = {name: value for name, value in free.items() if name in scheduler.config}
    return type(scheduler).from_config(scheduler.config, **changes)


class _Diagonal(nn.Module):
    """A perfect network for data N(0, diag(λ)), in the prediction type of its scheduler."""

    def __init__(self, eigenvalues: np.ndarray, scheduler: Any):
        super().__init__()
        exact = copy.deepcopy(scheduler)
        in_double(exact)
        self.levels, self.kind = exact.alphas_cumprod, scheduler.config.get("prediction_type", "epsilon")
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
                f"the scheduler calls its network at timestep {timestep:g}, between the tabulated ᾱ; allowed: integer "
                "timesteps, as of DDIM and DDPM or with timestep_spacing='leading'"
            )
        return self.levels[int(timestep)]
