"""Noising and denoising as one map, against a loop in plain diffusers and exponents in closed form."""

import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, gaussian, levels, scheduler_of, timesteps

import denoscope as ds
from denoscope import dynamics

EIGENVALUES = (3.0, 1.0, 0.3)


def contraction(eigenvalue: float, left: int, steps: int) -> float:
    """d x'/d x: √ᾱ of the level, times the factors of the remaining steps."""
    t = timesteps(steps)[steps - left]
    return math.sqrt(levels(scheduler_of("ddim"))[t]) * ddim_factors(eigenvalue, steps)[-left:].prod()


@pytest.mark.parametrize("noise", ["fixed", "common"])
def test_the_exponents_of_gaussian_data_are_those_of_a_linear_map(noise):
    loop = dynamics.closed_loop(gaussian(EIGENVALUES), 0.5, steps=4, noise=noise)
    found = dynamics.lyapunov(loop, torch.zeros(1, 1, 3).double(), iterations=40, k=3, discard=120)
    expected = [math.log(contraction(value, 2, 4)) for value in EIGENVALUES]
    np.testing.assert_allclose(found.exponents, expected, atol=1e-8)


def test_a_loop_in_plain_diffusers_gives_the_same_images(tiny):
    """With the same noise, the scheduler's add_noise, and its last steps."""
    import copy

    loop = dynamics.closed_loop(tiny, 0.5, steps=4, noise_seed=3)
    x = ds.noise.random(8, tiny.shape).batch(range(8))
    scheduler = copy.deepcopy(tiny.scheduler)
    scheduler.set_timesteps(4)
    noised = loop.noised(x)
    t = scheduler.timesteps[2]
    level = scheduler.alphas_cumprod[t]
    drawn = (noised - level.sqrt() * x) / (1 - level).sqrt()
    assert (drawn - drawn[:1]).abs().max() < 1e-5  # one noise for all images
    assert 0.7 < drawn[0].std() < 1.3
    added = scheduler.add_noise(x, drawn[:1].expand_as(x), t.expand(8))
    torch.testing.assert_close(noised, added, atol=1e-5, rtol=0)
    plane = ds.noise.plane_through(noised[0], *ds.noise.random(2, tiny.shape))
    torch.testing.assert_close(plane.at([[0.0, 0.0]])[0], noised[0])
    with torch.no_grad():
        for t in scheduler.timesteps[2:]:
            noised = scheduler.step(tiny.network(noised, t).sample, t, noised).prev_sample
    torch.testing.assert_close(loop(x), noised, atol=1e-5, rtol=0)
    torch.testing.assert_close(loop(x[0]), noised[0], atol=1e-5, rtol=0)


def test_common_noise_differs_between_iterations_and_fixed_noise_does_not(tiny):
    x = ds.noise.random(1, tiny.shape).tensor(0)
    common, fixed = (dynamics.closed_loop(tiny, 0.5, steps=2, noise=kind) for kind in ("common", "fixed"))
    assert torch.equal(common.at(0)(x), fixed(x)) and torch.equal(fixed.at(7)(x), fixed(x))
    assert not torch.equal(common.at(1)(x), common.at(0)(x))
    assert torch.equal(common.at(1)(x), common.at(1)(x))


@pytest.fixture
def convolution_ddpm(make_scheduler):
    """A network of one convolution, with DDPM."""
    network = Convolution()
    return ds.load(network, scheduler=make_scheduler("ddpm"), shape=(1, 12, 12), device="cpu")


class Convolution(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, _timestep):
        return self.layer(x)


@pytest.mark.parametrize(
    "kind",
    ["convolution_ddpm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tiny", "tiny_ddpm"))],
)
def test_the_derivative_of_a_loop_is_exact(kind, request):
    denoiser = request.getfixturevalue(kind)
    loop = dynamics.closed_loop(denoiser, 1.0, steps=1)
    x = ds.noise.random(1, denoiser.shape).tensor(0)
    found = dynamics.lyapunov(loop, x, iterations=40, k=1, discard=0)
    assert found.origin["derivative"] == "torch.func.jvp"


def test_the_fixed_point_of_gaussian_data():
    """The loop is linear, x ← a x + b; one iteration from 0 gives b, the denoised noise."""
    loop = dynamics.closed_loop(gaussian(EIGENVALUES), 0.5, steps=4)
    b = loop(torch.zeros(1, 1, 3).double()).flatten().numpy()
    a = np.array([contraction(value, 2, 4) for value in EIGENVALUES])
    orbit = dynamics.orbit(loop, torch.ones(1, 1, 3).double(), iterations=1, discard=100)
    np.testing.assert_allclose(orbit[-1].flatten(), b / (1 - a), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0}, r"level is 0; allowed: 0.25 to 1"),
        ({"level": 1.5}, r"level is 1.5; allowed: 0.25 to 1"),
        ({"level": 0.01}, "level is 0.01; allowed: 0.25 to 1"),
        ({"level": "half"}, "level is 'half'"),
        ({"level": math.nan}, "level is nan; allowed: 0.25 to 1"),
        ({"level": True}, "level is True"),
        ({"noise": "none"}, "noise is 'none'; allowed: fixed, common"),
        ({"steps": 0}, "steps is 0; allowed: an integer of at least 1"),
        ({"steps": math.nan}, "steps is nan"),
        ({"noise_seed": -1}, "noise_seed is -1"),
        ({"lanes": 0}, "lanes is 0"),
    ],
)
def test_options_out_of_range_are_refused(tiny, options, message):
    with pytest.raises(ds.UserError, match=message):
        dynamics.closed_loop(tiny, **({"steps": 4} | options))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 28, 28), r"x has shape \[1, 1, 28, 28\]; .*\[n, 2, 8, 8\]"),
        (torch.zeros(128), r"x has shape \[128\]"),
        (torch.zeros(2, 8, 8).long(), r"x has dtype torch.int64; .*floating-point"),
        (torch.full((2, 8, 8), math.nan), "x holds NaN or Inf"),
        ("image", "x is 'image'"),
    ],
)
def test_anything_but_finite_images_is_refused(tiny, x, message):
    loop = dynamics.closed_loop(tiny, 0.5, steps=2)
    for function in (loop, loop.at(3), loop.noised):
        with pytest.raises(ds.UserError, match=message):
            function(x)


def test_a_loop_shows_its_steps_and_noise(tiny):
    loop = dynamics.closed_loop(tiny, 0.5, steps=4)
    assert repr(loop) == "ClosedLoop(begin=2, noise='fixed', noise_seed=0)"
    assert "2 to 3 of 4" in loop._repr_html_()


def test_the_name_of_a_model_is_refused():
    with pytest.raises(ds.UserError, match=r"denoiser is 'mnist'; .*ds\.load\('mnist'\)"):
        dynamics.closed_loop("mnist")


def test_a_multistep_scheduler_is_refused(make_unet):
    from diffusers import DPMSolverMultistepScheduler

    denoiser = ds.load(make_unet(), scheduler=DPMSolverMultistepScheduler(), device="cpu")
    with pytest.raises(ds.UserError, match="uses earlier steps"):
        dynamics.closed_loop(denoiser)
