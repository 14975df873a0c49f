"""The noise level at which classes part, by theory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.config import InferenceConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.trajectories.gaussian_theory import CovarianceSpectrum, eigenvalues_of, need_levels
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser
from denoscope.models.solver_calls import stages
from denoscope.sampling.loop import noise_level


@dataclass(frozen=True, kw_only=True, eq=False)
class Speciation(Result):
    """Where trajectories choose a class: the noise level `sigma` = √((1−ᾱ)/ᾱ), `alpha_cumprod` ᾱ there, and the step.

    `step` is a fraction of steps of the denoiser's own schedule, between those that begin above and below the level;
    None where the schedule does not reach it.
    """

    sigma: float
    alpha_cumprod: float
    step: float | None


@accepts_num_steps
def speciation(denoiser: Denoiser, covariance: Any, *, steps: int = InferenceConfig.num_steps) -> Speciation:
    """The level at which, by theory, denoising chooses between classes: ᾱ Λ = 1, Λ the covariance's largest eigenvalue.

    Before it, all trajectories drift alike; after it each is drawn to one class. In the time of Biroli et al., where
    ᾱ = exp(−2t), it is t_S = ½ ln Λ; here σ_S = √(Λ − 1). Without unit, like σ.

    How to read it: as a line in the curve of `commitment` or `u_turn`, around which classes should be decided. When it
    misleads: it is an order of magnitude for many dimensions, and takes the largest direction of the covariance as that
    between classes, which it needn't be: where style or thickness varies more than class, classes part later. For two
    Gaussians ±m of variance s² the noised density has two maxima exactly from ᾱ (|m|² − s² + 1) = 1 on, and
    Λ = |m|² + s²: the same where |m|² is large.

    Args:
        covariance: eigenvalues, the largest among them, a `covariance_spectrum`, or a matrix [d, d], of the data or the model's samples.

    Raises: UserError if Λ is at most 1, where noise hides all classes from the beginning to the end, or the scheduler has
        no ᾱ.

    Source: Biroli, Bonnaire, de Bortoli and Mézard, Nature Communications 15, 9957 (2024), eq. 4.
    """
    need_levels(denoiser)
    largest = float(eigenvalues_of(covariance)[0])
    if largest <= 1:
        raise UserError(
            f"the largest eigenvalue of the covariance is {largest:.3g}; there is a level of speciation above 1 only: "
            "give images in the units that the model makes, as [-1, 1]"
        )
    sigma = math.sqrt(largest - 1)
    scheduler = denoiser.new_scheduler(steps)
    # A step of order 2 has two entries in the schedule.
    begins = [index for index, stage in enumerate(stages(scheduler, steps)) if stage.call == 0]
    sigmas = np.array([noise_level(scheduler, index) for index in begins])
    inside = sigmas[-1] <= sigma <= sigmas[0]
    warnings = list(covariance.warnings) if isinstance(covariance, CovarianceSpectrum) else []
    if not inside:
        warnings.append(
            f"σ = {sigma:.3g} lies outside of the schedule, whose steps begin at {sigmas[0]:.3g} to {sigmas[-1]:.3g}"
        )
    return Speciation(
        sigma=sigma,
        alpha_cumprod=1 / largest,
        # Steps run from large levels to small ones; the angle arctan σ, unlike ln σ, is finite at ᾱ = 0.
        step=float(np.interp(-math.atan(sigma), -np.arctan(sigmas), np.arange(len(sigmas))))
        if inside
        else None,
        origin={"model": denoiser.name, "steps": steps, "largest_eigenvalue": largest},
        warnings=tuple(warnings),
    )
