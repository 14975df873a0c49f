"""Analytic networks against scores by autograd and a plain loop of diffusers."""

import math

import numpy as np
import pytest
import torch
from analytic import levels, scheduler_of

from denoscope.dynamics.known import analytic_models as models
from denoscope.models.schedule_precision import in_double

TIMESTEPS = (0, 1, 20, 500, 999)


def noise_of_density(log_density, x, level):
    """ε* = −√(1−ᾱ) ∇ ln p_t."""
    x = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(log_density(x).sum(), x)
    return -math.sqrt(1 - level) * score


def some(size, count=3):
    draws = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 1, size, dtype=torch.float64, generator=draws)


@pytest.mark.parametrize("timestep", TIMESTEPS)
def test_the_gaussian_network_predicts_the_score_of_the_noised_density(timestep):
    half = some(3, 3)[:, 0, 0]
    covariance, level = half @ half.T, levels(scheduler_of("ddim"))[timestep]
    noised = torch.distributions.MultivariateNormal(
        torch.zeros(3).double(), level * covariance + (1 - level) * torch.eye(3).double()
    )
    x = some(3)
    expected = noise_of_density(lambda x: noised.log_prob(x.flatten(1)), x, level)
    network = models.Gaussian(covariance, scheduler_of("ddim"))
    np.testing.assert_allclose(network(x, torch.tensor(timestep)), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("timestep", TIMESTEPS)
def test_the_mixture_network_predicts_the_score_of_the_noised_density(timestep):
    mean, variance = torch.tensor([1.0, -0.5, 0.2]).double(), 0.3
    level = levels(scheduler_of("ddim"))[timestep]
    spread = (level * variance + 1 - level) * torch.eye(3).double()
    sides = [
        torch.distributions.MultivariateNormal(sign * math.sqrt(level) * mean, spread) for sign in (1, -1)
    ]

    def log_density(x):
        return torch.logsumexp(torch.stack([side.log_prob(x.flatten(1)) for side in sides]), 0)

    x = some(3)
    network = models.TwoGaussians(mean, variance, scheduler_of("ddim"))
    expected = noise_of_density(log_density, x, level)
    np.testing.assert_allclose(network(x, torch.tensor(timestep)), expected, rtol=1e-7, atol=1e-12)


def henon(p, q):
    return 1 - 1.4 * p**2 + q, 0.3 * p


def cat(p, q):
    return (2 * p + q) % 1, (p + q) % 1


def newton(p, q):
    z = p + 1j * q
    z = z - (z**3 - 1) / (3 * z**2)
    return z.real, z.imag


@pytest.mark.parametrize(
    ("embedded", "plain"), [(models.henon, henon), (models.cat, cat), (models.newton, newton)]
)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_step_of_diffusers_ddim_applies_the_map_to_every_pixel(embedded, plain, steps):
    scheduler = scheduler_of("ddim")
    network = models.Embedded(embedded, scheduler, steps)
    in_double(scheduler)
    scheduler.set_timesteps(steps)
    x = torch.tensor([[0.1, 0.3], [0.25, 0.1]], dtype=torch.float64).reshape(1, 2, 1, 2)
    for timestep in scheduler.timesteps:
        p, q = x[0].numpy()
        x = scheduler.step(network(x, timestep), timestep, x).prev_sample
        np.testing.assert_allclose(x[0].numpy(), plain(p, q), atol=1e-11)


def test_the_tables_of_the_scheduler_are_not_changed():
    own = models.unclipped_scheduler("ddim")
    assert models.levels(own).dtype == torch.float64
    assert own.alphas_cumprod.dtype == torch.float32
    np.testing.assert_allclose(models.levels(own), levels(own), rtol=1e-12)


def test_roots_are_numbered_counterclockwise():
    roots = np.array([[1, -0.5, -0.5], [0, math.sqrt(0.75), -math.sqrt(0.75)]])
    assert models.nearest_root(0.9 * roots).tolist() == [0, 1, 2]
