"""Derivatives of the denoising map against each other, differences and schedulers with a memory."""

import itertools
import math
from contextlib import nullcontext

import pytest
import torch

import denoscope as ds
from denoscope.dynamics.known.analytic_models import embedded, henon
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.local_expansion import local_expansion
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.sampling.settings import Loop


def test_forward_mode_reverse_mode_and_differences_agree(exact):
    """The JVP equals central differences, and the VJP is its transpose."""
    flow = DenoisingMap(exact, Loop(steps=4, lanes=4))
    x_T = ds.noise.random(1, exact.shape, seed=1).batch([0]).double()
    v, u = (ds.noise.random(3, exact.shape, seed=seed).batch(range(3)).double() for seed in (2, 3))
    pushed, pulled, h = flow.push(x_T, v), flow.pull(x_T, u), 1e-5
    above, below = (ds.sample(exact, x_T + sign * h * v, steps=4, lanes=4) for sign in (1, -1))
    difference = (above - below) / (2 * h)
    assert ((pushed - difference).norm() / difference.norm()).item() < 1e-8
    for one, other in itertools.product(range(3), repeat=2):
        assert float((u[one] * pushed[other]).sum()) == pytest.approx(
            float((pulled[one] * v[other]).sum()), rel=1e-9
        )


@pytest.mark.slow
# NumPy 2 warns about how a scheduler of diffusers converts tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")
def test_multistep_schedulers_have_a_spectrum_but_no_single_steps(make_unet):
    from diffusers import DPMSolverMultistepScheduler

    denoiser = ds.load(make_unet(), scheduler=DPMSolverMultistepScheduler(), dtype="float64", device="cpu")
    x_T = ds.noise.random(1, denoiser.shape, seed=1).batch([0]).double()
    found = spectrum(denoiser, x_T, 1, steps=4)
    along, h = found.right, 1e-4
    above, below = (ds.sample(denoiser, x_T + sign * h * along, steps=4) for sign in (1, -1))
    grown = float((above - below).norm() / (2 * h))
    assert math.log(grown) == pytest.approx(found.exponents[0], abs=2e-3)
    for measure in (full_spectrum, local_expansion):
        with pytest.raises(ds.UserError, match="uses earlier steps"):
            measure(denoiser, x_T, steps=4)


def test_a_derivative_that_is_not_finite_is_refused(make_scheduler):
    class Root(torch.nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x.abs().sqrt()

    denoiser = ds.load(Root(), scheduler=make_scheduler("ddim"), shape=(1, 1, 2), device="cpu")
    with pytest.raises(ds.UserError, match="derivative of Root is not finite"):
        spectrum(denoiser, torch.zeros(1, 1, 1, 2), 1, steps=2)


def test_a_trajectory_that_overflows_is_refused():
    escaping, x_T = embedded(henon, 50, (2, 1, 1)), torch.full((1, 2, 1, 1), 2.0)
    for measure in (
        lambda: spectrum(escaping, x_T, 1, steps=50),
        lambda: full_spectrum(escaping, x_T, steps=50),
    ):
        with pytest.raises(ds.UserError, match="a derivative of Embedded is not finite"):
            measure()


@pytest.mark.parametrize(
    "measure", ["spectrum", "full_spectrum", "local_expansion", "plane_growth", "gradient"]
)
def test_inference_mode_of_the_caller_changes_nothing(make_small_unet, make_scheduler, saved, measure):
    """Autograd records nothing there: derivatives would be 0, and exponents −∞."""

    def measured(denoiser: ds.Denoiser) -> torch.Tensor:
        x = ds.noise.random(1, denoiser.shape, seed=1).batch([0]).clone()
        plane = ds.noise.plane((2, 1), denoiser.shape, lengths=(4.0, 4.0))
        return torch.as_tensor(
            {
                "spectrum": lambda: spectrum(denoiser, x, 2, steps=2).exponents,
                "full_spectrum": lambda: full_spectrum(denoiser, x, steps=2).exponents,
                "local_expansion": lambda: local_expansion(denoiser, x, 2, steps=2).rates,
                "plane_growth": lambda: ds.dynamics.plane_growth(denoiser, plane, steps=2)[
                    "growth"
                ].to_numpy(),
                "gradient": lambda: ds.gradient(denoiser, x, lambda x_0: x_0.square().sum(), steps=2),
            }[measure]()
        )

    network = make_small_unet()
    folder = saved(network, "network")
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")
    expected = measured(denoiser)
    with torch.inference_mode():
        found = measured(denoiser)
        loaded_inside = measured(ds.load(folder, scheduler=make_scheduler("ddim"), device="cpu"))
        made_inside = ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")
        reverse_mode = measure in ("spectrum", "full_spectrum", "gradient")
        with (
            pytest.raises(ds.UserError, match="weights of UNet2DModel were made in inference mode")
            if reverse_mode
            else nullcontext()
        ):
            assert torch.equal(measured(made_inside), expected)
        # In another precision a run computes with copies of the weights, made outside.
        in_double = ds.load(
            make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu", dtype="float64"
        )
        torch.testing.assert_close(measured(in_double).double(), expected.double(), rtol=1e-2, atol=1e-3)
    assert expected.isfinite().all() and torch.equal(found, expected)
    assert torch.equal(loaded_inside, expected)


def test_interventions_made_in_inference_mode_have_gradients(make_small_unet, make_scheduler):
    denoiser = ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")
    x = ds.noise.random(1, denoiser.shape, seed=1).batch([0]).clone()

    def gradient_with(value: torch.Tensor) -> torch.Tensor:
        scaled = ds.Intervention("conv_in", "scale", value)
        return ds.gradient(denoiser, x, lambda x_0: x_0.square().sum(), steps=2, interventions=scaled)

    expected = gradient_with(torch.full((1,), 0.5))
    with torch.inference_mode():
        assert torch.equal(gradient_with(torch.full((1,), 0.5)), expected)
