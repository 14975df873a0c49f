"""Gaussian data through DDIM and DDPM: linear maps with known derivatives."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from denoscope import dynamics, noise
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.known.check import Check
from denoscope.dynamics.known.closed_forms import LEVELS, ddim_factors, ddpm_factor, timesteps
from denoscope.models.denoiser import Denoiser
from denoscope.recording import record

EIGENVALUES = (3.0, 1.0, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
"""Eigenvalues of the covariance; its eigenvectors are rotated against the pixels."""
STEPS = 50
ISOTROPIC = 2.0
LAYER = "prediction"


def checks() -> list[Check]:
    return [
        *_singular_values(),
        *_all_exponents(),
        *_layer(),
        *_theory(),
        *_plane(),
        *_divergence(),
        *_closed_loop(),
    ]


def _singular_values() -> list[Check]:
    """Singular values of the whole map, by block Krylov iteration."""
    results = []
    cases: list[tuple[models.Kind, int]] = [("ddim", 10), ("ddim", 50), ("ddpm", 10), ("ddpm", 50)]
    for kind, steps in cases:
        result = dynamics.spectrum(_denoiser(kind), _noise(), 2, steps=steps, tolerance=1e-12, iterations=50)
        for value, exponent in zip(EIGENVALUES, result.exponents, strict=False):
            exact = np.prod(ddim_factors(value, steps)) if kind == "ddim" else ddpm_factor(value, steps)
            name = f"Gaussian, {kind.upper()} N={steps}: singular value at λ={value:g}"
            results.append(Check(name, float(exact), math.exp(exponent), 1e-9))
    return results


def _all_exponents() -> list[Check]:
    """All exponents, by the product of the Jacobians of the steps, and their determinant."""
    exact = np.array([np.log(ddim_factors(value, STEPS)) for value in EIGENVALUES])
    full = dynamics.full_spectrum(_denoiser("ddim"), _noise(), steps=STEPS)
    steps = dynamics.local_expansion(_denoiser("ddim"), _noise(), len(EIGENVALUES), steps=STEPS)
    prefix = f"Gaussian, DDIM N={STEPS}"
    assert full.log_det is not None
    return [
        Check(
            f"{prefix}: smallest exponent, λ={EIGENVALUES[-1]:g}", exact[-1].sum(), full.exponents[-1], 1e-9
        ),
        Check(f"{prefix}: ln|det| by LU of each step", exact.sum(), full.log_det, 1e-9),
        Check(f"{prefix}: sum of all exponents", exact.sum(), full.exponents.sum(), 1e-9),
        Check(f"{prefix}: sum of local expansion (QR)", exact.sum(), steps.rates.sum(), 1e-9),
    ]


def _layer() -> list[Check]:
    """The derivative of the prediction in the middle step, which is linear in x_t, and its central difference."""
    step, eigenvalue = STEPS // 2, EIGENVALUES[0]
    result = dynamics.spectrum(
        _isotropic(4, eigenvalue), _noise()[..., :4], 1, steps=STEPS, layer=LAYER, step=step, differences=True
    )
    level = LEVELS[timesteps(STEPS)[step]]
    gain = math.sqrt(1 - level) / (level * eigenvalue + 1 - level)
    exact = math.log(gain) + np.log(ddim_factors(eigenvalue, STEPS)[:step]).sum()
    assert result.difference_errors is not None
    prefix = f"Gaussian, DDIM N={STEPS}, ε in step {step}"
    return [
        Check(f"{prefix}: exponent", float(exact), float(result.exponents[0]), 1e-9),
        Check(f"{prefix}: derivative against a difference", 0.0, float(result.difference_errors[0]), 1e-8),
    ]


def _theory() -> list[Check]:
    """Gains of the whole map, as the scheduler itself computes them."""
    cases: list[tuple[models.Kind, float]] = [
        ("ddim", float(np.prod(ddim_factors(EIGENVALUES[0], STEPS)))),
        ("ddpm", ddpm_factor(EIGENVALUES[0], STEPS)),
    ]
    return [
        Check(
            f"Gaussian theory, {kind.upper()} N={STEPS}: gain at λ={EIGENVALUES[0]:g}",
            exact,
            float(dynamics.gaussian_theory(_denoiser(kind), EIGENVALUES, steps=STEPS).gains[0, -1]),
            1e-9,
        )
        for kind, exact in cases
    ]


def _plane() -> list[Check]:
    """The growth of the two directions of a plane, which is the same for isotropic data."""
    plane = noise.plane((3, 3), (1, 1, 4), lengths=(10.0, 10.0))
    grown = dynamics.plane_growth(_isotropic(4), plane, steps=STEPS).growth
    exact = float(np.log(ddim_factors(ISOTROPIC, STEPS)).sum())
    furthest = float(grown.values.flat[np.abs(grown.values - exact).argmax()])
    return [Check("Gaussian, DDIM N=50: growth of a plane, worst of 18", exact, furthest, 1e-9)]


def _divergence() -> list[Check]:
    """Recorded trajectories, whose differences grow alike for every size under a linear map."""
    with tempfile.TemporaryDirectory() as folder:
        for epsilon in (1.0, 1e-1, 1e-2):
            noise.perturbed(3, (1, 1, 16), epsilon=epsilon).write(Path(folder) / "inputs")
        x, path = noise.read(Path(folder) / "inputs"), Path(folder) / "run.zarr"
        recording = record.record(_isotropic(16), x, path, steps=STEPS, layers=[LAYER])
        separations = dynamics.divergence(recording)
        sweep, pair = dynamics.epsilon_sweep(separations), separations.isel(sample=0)
        rate = float(pair.growth_rate)
        share = float(pair[f"{LAYER} separation"][-1] / pair.separation[-2])
    exact, last = float(np.log(ddim_factors(ISOTROPIC, STEPS)).mean()), LEVELS[0]
    prefix = f"Gaussian, DDIM N={STEPS}, recorded pair"
    return [
        Check(f"{prefix}: growth rate per step", exact, rate, 1e-7),
        Check(f"{prefix}: on the plateau", exact * STEPS, sweep.value, 1e-6),
        Check(
            f"{prefix}: in ε against in x_t", (1 - last) ** 0.5 / (last * ISOTROPIC + 1 - last), share, 1e-7
        ),
    ]


def _closed_loop() -> list[Check]:
    """Noising to the level of the middle step and denoising, with one noise for all iterations."""
    steps, eigenvalue = 10, EIGENVALUES[0]
    loop = dynamics.closed_loop(_denoiser("ddim"), 0.5, steps=steps)
    exponent = dynamics.lyapunov(loop, _noise()[0], iterations=60, discard=40, k=1).exponents[0]
    middle = timesteps(steps)[steps // 2]
    exact = 0.5 * math.log(LEVELS[middle]) + np.log(ddim_factors(eigenvalue, steps)[steps // 2 :]).sum()
    return [Check("Gaussian, closed loop at level 0.5: exponent", float(exact), float(exponent), 1e-9)]


def _denoiser(kind: models.Kind) -> Denoiser:
    scheduler, size = models.unclipped_scheduler(kind), len(EIGENVALUES)
    draws = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=draws)).Q
    covariance = rotation @ torch.diag(torch.tensor(EIGENVALUES, dtype=torch.float64)) @ rotation.T
    return models.denoiser(models.Gaussian(covariance, scheduler), scheduler, (1, 1, size))


def _isotropic(size: int, variance: float = ISOTROPIC) -> Denoiser:
    scheduler = models.unclipped_scheduler("ddim")
    covariance = variance * torch.eye(size, dtype=torch.float64)
    return models.denoiser(models.Gaussian(covariance, scheduler), scheduler, (1, 1, size))


def _noise() -> torch.Tensor:
    return noise.random(1, (1, 1, len(EIGENVALUES))).batch([0]).double()
