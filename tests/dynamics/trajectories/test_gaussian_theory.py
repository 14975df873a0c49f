"""Gaussian theory and speciation: published numbers, plain diffusers schedulers, and sampled covariances."""

import copy
import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, ddpm_factor, denoiser_of, gaussian, levels, scheduler_of
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.known.analytic_models import TwoGaussians

# NumPy 2's warning about how a diffusers scheduler converts tensors.
OF_TENSORS = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")

TABLE = {
    ("ddim", 10): (1.4847272576, 0.8316958768),
    ("ddim", 50): (1.6796220133, 0.9640792715),
    ("ddim", 1000): (1.7292981858, 0.9981242940),
    ("ddpm", 50): (0.0230480405, 0.00768358729),
}


@pytest.mark.parametrize(
    ("kind", "steps"), [pytest.param(*key, marks=pytest.mark.slow if key[1] == 1000 else ()) for key in TABLE]
)
def test_the_whole_map_has_the_published_gains(kind, steps):
    found = dynamics.gaussian_theory(gaussian((1.0,) * 2, kind), [1.0, 3.0], steps=steps)
    assert found.eigenvalues.tolist() == [3.0, 1.0], "the largest first"
    np.testing.assert_allclose(found.gains[:, -1], TABLE[kind, steps], rtol=1e-9)
    np.testing.assert_allclose(found.exponents, np.log(TABLE[kind, steps]), rtol=1e-8)


def test_the_gain_of_a_state_is_the_product_of_its_steps():
    found = dynamics.gaussian_theory(gaussian((1.0,) * 3), [3.0, 0.01, 0.0], steps=10)
    for row, value in enumerate((3.0, 0.01, 0.0)):
        products = np.cumprod(np.append(1.0, ddim_factors(value, 10)))
        np.testing.assert_allclose(found.gains[row], products, rtol=1e-9, atol=1e-15)
    rms = np.sqrt(
        np.mean([np.cumprod(np.append(1.0, ddim_factors(v, 10))) ** 2 for v in (3.0, 0.01, 0.0)], 0)
    )
    np.testing.assert_allclose(found.separation, rms, rtol=1e-9)


def test_a_matrix_has_the_theory_of_its_eigenvalues_without_clipping():
    draws = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=draws)).Q
    covariance = (q @ torch.diag(torch.tensor([5.0, 2.0, 0.5, 0.1]).double()) @ q.T).numpy()
    clipping = denoiser_of(torch.nn.Identity(), DDIMScheduler(clip_sample=True), 4)
    found = dynamics.gaussian_theory(clipping, covariance, steps=20)
    measured = dynamics.spectrum(gaussian(covariance), torch.zeros(1, 1, 1, 4), 4, steps=20, tolerance=1e-12)
    np.testing.assert_allclose(found.exponents, measured.exponents, rtol=1e-8)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_the_prediction_type_makes_no_difference(kind):
    own = DDPMScheduler(clip_sample=False, prediction_type=kind)
    found = dynamics.gaussian_theory(denoiser_of(torch.nn.Identity(), own, 1), [2.0], steps=20)
    np.testing.assert_allclose(found.gains[0, -1], ddpm_factor(2.0, 20), rtol=1e-8)


@OF_TENSORS
def test_a_scheduler_with_sigmas_runs_its_own_steps():
    """Euler in x = √ᾱ⁻¹ x_t: along λ the flow multiplies by √((λ + σ'²)/(λ + σ²)), to first order in each step."""
    own = EulerDiscreteScheduler(timestep_spacing="leading")
    found = dynamics.gaussian_theory(denoiser_of(torch.nn.Identity(), own, 1, "float32"), [2.0], steps=200)
    scheduler = copy.deepcopy(own)
    scheduler.set_timesteps(200)
    first = float(scheduler.sigmas[0])
    start = float(scheduler.init_noise_sigma)
    assert found.gains[0, -1] == pytest.approx(start * math.sqrt(2 / (2 + first**2)), rel=0.05)
    assert found.gains[0, 0] == pytest.approx(start, rel=1e-6)
    # The flow from x_0 + σ ε has the gain √(λ/(λ + σ²)).
    gain = np.sqrt(2 / (2 + found.sigmas**2))
    expected = np.sqrt((gain - 1) ** 2 * 2 + gain**2 * found.sigmas**2)
    np.testing.assert_allclose(found.turn_distance[:100], expected[:100], rtol=0.05)


def test_steps_that_add_noise_have_no_turn_distance():
    """Other schedulers are tested with the drawings of decisions."""
    ancestral = dynamics.gaussian_theory(gaussian((1.0,) * 2, "ddpm"), [4.0, 0.5], steps=10)
    assert ancestral.stochastic and np.isnan(ancestral.turn_distance).all()
    assert not dynamics.gaussian_theory(gaussian((1.0,) * 2), [4.0, 0.5], steps=10).stochastic


def test_the_covariance_of_samples_agrees_with_numpy():
    images = np.random.default_rng(0).normal(size=(400, 1, 2, 3)) * np.array([3.0, 1.0, 0.5])
    found = dynamics.covariance_spectrum(torch.from_numpy(images))
    expected = np.linalg.eigvalsh(np.cov(images.reshape(400, 6), rowvar=False))[::-1]
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-10)
    np.testing.assert_allclose(found.mean, images.mean(0))
    assert not found.warnings
    few = dynamics.covariance_spectrum(images[:4])
    assert (few.eigenvalues[3:] == 0).all() and (few.eigenvalues[:3] > 0).all()
    assert few.eigenvalues.sum() == pytest.approx(np.trace(np.cov(images[:4].reshape(4, 6), rowvar=False)))
    assert "4 images of 6 numbers" in few.warnings[0] and "3 of them exactly 0" in few.warnings[0]
    assert dynamics.gaussian_theory(gaussian((1.0,) * 6), few, steps=2).warnings == few.warnings


def test_at_speciation_the_level_times_the_largest_eigenvalue_is_one():
    denoiser, every = gaussian((1.0,)), levels(scheduler_of("ddim"))
    sigmas = np.sqrt((1 - every) / every)
    found = dynamics.speciation(denoiser, [0.3, 50.0, 2.0], steps=1000)
    assert found.alpha_cumprod == pytest.approx(1 / 50) and found.sigma == pytest.approx(7)
    step = math.floor(found.step)
    assert sigmas[999 - step] >= 7 >= sigmas[999 - step - 1]
    # ½ ln Λ in the time whose level is exp(−2t).
    assert -0.5 * math.log(found.alpha_cumprod) == pytest.approx(0.5 * math.log(50))
    far = dynamics.speciation(denoiser, [1e9], steps=10)
    assert far.step is None and "outside the schedule" in far.warnings[0]


def test_two_gaussians_separate_near_the_level_of_speciation():
    """The noised density along m, on a fine grid, has one maximum above the level and two below."""
    mean, variance = 6.0, 0.04
    found = dynamics.speciation(gaussian((1.0,)), [mean**2 + variance])
    x = np.linspace(-8, 8, 16001)

    def maxima(level):
        spread = level * variance + 1 - level
        density = sum(np.exp(-((x - sign * math.sqrt(level) * mean) ** 2) / 2 / spread) for sign in (1, -1))
        return int(((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])).sum())

    assert maxima(0.95 * found.alpha_cumprod) == 1 and maxima(1.05 * found.alpha_cumprod) == 2


@pytest.mark.parametrize(("mean", "variance"), [(6.0, 0.04), (3.0, 0.04), (1.5, 0.9)])
def test_two_gaussians_separate_exactly_at_the_documented_level(mean, variance):
    """From the first timestep with ᾱ (|m|² − s² + 1) > 1 on, the score near x = 0 has the sign of x along m."""
    network = TwoGaussians(torch.tensor([mean]), variance, scheduler_of("ddim"))
    near = torch.full((1, 1, 1, 1), 1e-7, dtype=torch.float64)
    repels = [float(network(near, torch.tensor(t))) < 0 for t in range(1000)]
    assert repels == (levels(scheduler_of("ddim")) * (mean**2 - variance + 1) > 1).tolist()
    assert 0 < sum(repels) < 1000


@OF_TENSORS
def test_a_step_of_two_calls_counts_once():
    """Heun's schedule lists every level but the last one twice."""
    own = HeunDiscreteScheduler(timestep_spacing="leading")
    found = dynamics.speciation(denoiser_of(torch.nn.Identity(), own, 1, "float32"), [1.5], steps=20)
    plain = copy.deepcopy(own)
    plain.set_timesteps(20)
    levels_of_steps = plain.sigmas.numpy()[0:39:2]
    step = math.floor(found.step)
    assert levels_of_steps[step] >= math.sqrt(0.5) >= levels_of_steps[step + 1] and not found.warnings


def test_a_schedule_that_starts_from_pure_noise_has_finite_numbers():
    """An image noised to ᾱ = 0 returns as an independent one, at a distance given by the sum of the variances."""
    own = DDIMScheduler(
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )
    denoiser = denoiser_of(torch.nn.Identity(), own, 2)
    found = dynamics.gaussian_theory(denoiser, [3.0, 0.5], steps=20)
    assert np.isinf(found.sigmas[0])
    assert found.turn_distance[0] == pytest.approx(math.sqrt(3.5 + (found.gains[:, -1] ** 2).sum()), rel=1e-6)
    assert 0 < dynamics.speciation(denoiser, [1e9], steps=20).step < 1


@OF_TENSORS
def test_a_scheduler_that_depends_on_earlier_steps_has_no_turn_distance():
    own = DPMSolverMultistepScheduler(timestep_spacing="leading")
    found = dynamics.gaussian_theory(denoiser_of(torch.nn.Identity(), own, 1, "float32"), [2.0], steps=10)
    assert found.remembers and np.isnan(found.turn_distance).all() and np.isfinite(found.exponents).all()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda d: dynamics.gaussian_theory(d, [[1.0, 2.0]]), r"covariance has shape \[1, 2\]"),
        (lambda d: dynamics.gaussian_theory(d, [1.0, -0.5]), "has the eigenvalue -0.5"),
        (lambda d: dynamics.gaussian_theory(d, [np.nan]), "NaN or Inf"),
        (lambda d: dynamics.gaussian_theory(d, [3.0, 1.0]), "covariance has 2 eigenvalues; allowed: 1,"),
        (lambda d: dynamics.gaussian_theory(d, np.eye(4)), "covariance has 4 eigenvalues"),
        (lambda d: dynamics.gaussian_theory(d, "cov.npy"), "covariance holds"),
        (lambda d: dynamics.gaussian_theory(d, [1.0], steps=2.5), "steps is 2.5"),
        (lambda _: dynamics.gaussian_theory("mnist", [1.0]), r"denoiser is 'mnist'; .* ds.load\('mnist'\)"),
        (lambda _: dynamics.speciation("mnist", [2.0]), "denoiser is 'mnist'"),
        (lambda d: dynamics.speciation(d, [0.5]), "largest eigenvalue of the covariance is 0.5"),
        (lambda _: dynamics.covariance_spectrum(np.zeros((1, 4))), "at least two images"),
        (lambda _: dynamics.covariance_spectrum(np.ones((3, 4))), "all 3 images are equal"),
    ],
)
def test_invalid_arguments_are_refused(call, line):
    with pytest.raises(ds.UserError, match=line):
        call(gaussian((1.0,)))


def test_flow_matching_is_refused():
    flow = denoiser_of(torch.nn.Identity(), FlowMatchEulerDiscreteScheduler(), 1, "float32")
    with pytest.raises(ds.UserError, match="FlowMatchEulerDiscreteScheduler has no Gaussian theory"):
        dynamics.gaussian_theory(flow, [1.0])
    with pytest.raises(ds.UserError, match="FlowMatchEulerDiscreteScheduler has no Gaussian theory"):
        dynamics.speciation(flow, [1.5])


def test_a_direction_in_which_data_do_not_vary_has_exponent_minus_infinity():
    theory = dynamics.gaussian_theory(
        gaussian((1.0, 1.0, 1.0, 1.0)), np.array([2.0, 1.0, 0.5, 0.0]), steps=50
    )
    # The last level has no noise, so that √(ᾱ'ᾱ) λ + √((1−ᾱ')(1−ᾱ)) is 0 there.
    assert theory.exponents[-1] == -np.inf and np.isfinite(theory.exponents[:-1]).all()
