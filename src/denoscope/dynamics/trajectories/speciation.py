"""The noise level at which trajectories of different classes separate, by theory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.config import InferenceConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.trajectories.covariance_spectrum import CovarianceSpectrum, eigenvalues_of
from denoscope.dynamics.trajectories.gaussian_theory import check_levels
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import noise_level
from denoscope.models.solver_calls import stages


@dataclass(frozen=True, kw_only=True, eq=False)
class Speciation(Result):
    """The level at which trajectories choose a class: `sigma` = √((1−ᾱ)/ᾱ), `alpha_cumprod` ᾱ, and the step.

    `step` is interpolated between the steps of the denoiser's schedule that start above and below the level; None if the
    level is outside the schedule.
    """

    sigma: float
    alpha_cumprod: float
    step: float | None


@accepts_num_steps
@arguments_checked
def speciation(denoiser: Denoiser, covariance: Any, *, steps: int = InferenceConfig.num_steps) -> Speciation:
    """The level at which denoising chooses between classes by theory: ᾱ Λ = 1, with Λ the covariance's largest eigenvalue.

    Above this level all trajectories drift alike; below it each is attracted to one class. In the time of Biroli et al.,
    where ᾱ = exp(−2t), it is t_S = ½ ln Λ; here σ_S = √(Λ − 1). Dimensionless, as σ.

    Interpretation: a line in the curves of `commitment` or `u_turn`, around which classes should be decided.

    Caveats: it is an order of magnitude for data of many dimensions, and takes the direction of largest variance for that
    between the classes. If style or thickness varies more than class, the classes separate later. For two Gaussians ±m of
    variance s² the noised density has two maxima exactly from ᾱ (|m|² − s² + 1) = 1 on, while Λ = |m|² + s²: the same if
    |m|² is large.

    Args:
        denoiser: its schedule places the level among the steps.
        covariance: of the data or of the model's samples: eigenvalues with the largest among them, a
            `covariance_spectrum`, or a matrix [d, d].

    Raises: UserError if Λ is at most 1, so that noise hides the classes throughout, or the scheduler has no ᾱ.

    Source: Biroli, Bonnaire, de Bortoli and Mézard, Nature Communications 15, 9957 (2024), eq. 4.
    """
    check_levels(denoiser)
    largest = float(eigenvalues_of(covariance)[0])
    if largest <= 1:
        raise UserError(
            f"the largest eigenvalue of the covariance is {largest:.3g}; allowed: above 1, or there is no speciation; give "
            "images in the units of the model, such as [-1, 1]"
        )
    sigma, sigmas = math.sqrt(largest - 1), _levels(denoiser, steps)
    inside = sigmas[-1] <= sigma <= sigmas[0]
    warnings = covariance.warnings if isinstance(covariance, CovarianceSpectrum) else ()
    if not inside:
        outside = f"σ = {sigma:.3g} is outside the schedule, whose steps start at {sigmas[0]:.3g} to {sigmas[-1]:.3g}"
        warnings = (*warnings, outside)
    return Speciation(
        sigma=sigma,
        alpha_cumprod=1 / largest,
        step=_interpolated_step(sigma, sigmas) if inside else None,
        origin={"model": denoiser.name, "steps": steps, "largest_eigenvalue": largest},
        warnings=warnings,
    )


def _levels(denoiser: Denoiser, steps: int) -> np.ndarray:
    """The noise level before each step of the schedule, in which a step of an order-2 scheduler has two entries."""
    scheduler = denoiser.new_scheduler(steps)
    starts = [index for index, stage in enumerate(stages(scheduler, steps)) if stage.call == 0]
    return np.array([noise_level(scheduler, index) for index in starts])


def _interpolated_step(sigma: float, sigmas: np.ndarray) -> float:
    """The step at a noise level, linear in arctan σ, which unlike ln σ is finite at ᾱ = 0."""
    # Negated, because np.interp needs ascending values and noise levels descend.
    return float(np.interp(-math.atan(sigma), -np.arctan(sigmas), np.arange(len(sigmas))))
