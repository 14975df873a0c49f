"""Local expansion: factors in closed form, and its relation to the exponents of the whole map."""

import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, gaussian, some

import denoscope as ds
from denoscope.dynamics.known.analytic_models import linear
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.local_expansion import local_expansion
from denoscope.dynamics.sensitivity.spectrum import spectrum


@pytest.mark.slow
def test_sums_of_rates_are_not_the_leading_exponents(exact):
    """The sum over a whole frame is ln|det|; the sum over a part of it is not an exponent."""
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    size = math.prod(exact.shape)
    whole = local_expansion(exact, x_T, size, steps=2)
    assert whole.rates.shape == (2, size)
    assert whole.rates.sum() == pytest.approx(full_spectrum(exact, x_T, steps=2).log_det, abs=1e-8)
    few = local_expansion(exact, x_T, 2, steps=3)
    assert few.rates.sum(0)[0] < spectrum(exact, x_T, 1, steps=3).exponents[0] - 0.05


def test_rates_of_gaussian_data_are_the_factors_of_the_steps():
    rates = local_expansion(gaussian((2.0, 2.0)), some(2), 2, steps=10).rates
    np.testing.assert_allclose(rates, np.log(ddim_factors(2.0, 10))[:, None].repeat(2, 1), rtol=1e-7)


class Scaled(torch.nn.Module):
    def forward(self, x, _timestep):
        return 0.3 * x + 0.1 * x.roll(1, -1)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # diffusers' Euler under NumPy 2
def test_the_factor_of_x_T_belongs_to_the_first_step():
    from diffusers import EulerDiscreteScheduler

    # The network ignores the noise level; its Jacobian does not matter here.
    denoiser = ds.load(
        Scaled(), scheduler=EulerDiscreteScheduler(), shape=(1, 1, 4), dtype="float64", device="cpu"
    )
    local = local_expansion(denoiser, some(4), 4, steps=10)
    assert local.rates.sum() == pytest.approx(full_spectrum(denoiser, some(4), steps=10).log_det, abs=1e-6)


def test_rates_that_rounding_decides_are_warned_of():
    """The last step multiplies data of variance λ by λ√ᾱ/(λᾱ + 1 − ᾱ), which is 1e-26 for λ = 1e-30."""
    few = local_expansion(gaussian((2.0, 1e-30)), some(2), 2, steps=4)
    (line,) = few.warnings
    assert "in steps 3," in line and f"of {few.rates.size} rates" in line
    assert local_expansion(gaussian((2.0, 0.1)), some(2), 2, steps=4).warnings == ()


@pytest.mark.parametrize(("flow", "warned"), [(True, True), (False, False)], ids=["rounds", "exact"])
def test_a_scheduler_that_keeps_float32_is_warned_of_in_float64(flow, warned):
    """FlowMatchEuler rounds states to float32 in a float64 run: ln|det| of the map is then off."""
    depths = np.array([0.0, -4.0, -16.0, -20.0])
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    denoiser = linear(turned @ np.diag(np.exp(depths)) @ turned.T, flow=flow)
    found = local_expansion(denoiser, some(4), 4, steps=1)
    assert (abs(found.rates.sum() - depths.sum()) > 0.1) == warned
    assert any("lower precision" in line and "in steps 0" in line for line in found.warnings) == warned
    shallow = linear(turned @ np.diag(np.exp(depths / 4)) @ turned.T, flow=flow)
    assert local_expansion(shallow, some(4), 4, steps=1).warnings == ()
