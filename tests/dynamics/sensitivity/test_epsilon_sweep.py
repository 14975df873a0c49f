"""The linear range of perturbations of a linear map, of a curved map, and below the noise floor."""

import shutil

import numpy as np
import pytest
import torch
from analytic import ddim_factors, denoiser_of, gaussian, scheduler_of

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.known.analytic_models import TwoGaussians
from denoscope.recording import opening

EPSILONS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)


def recorded(denoiser, folder):
    for epsilon in EPSILONS:
        ds.noise.perturbed(6, denoiser.shape, epsilon=epsilon, base_seed=4).write(folder / "inputs")
    return ds.record(
        denoiser, ds.noise.read(folder / "inputs"), folder / "run.zarr", steps=10, layers=["prediction"]
    )


@pytest.fixture(scope="module")
def linear_run(tmp_path_factory):
    """A recording of a linear map."""
    return recorded(gaussian((3.0,) * 4), tmp_path_factory.mktemp("linear")).path


def test_a_linear_map_is_linear_at_every_epsilon(linear_run):
    sweep = dynamics.epsilon_sweep(dynamics.divergence(linear_run, layers=()))
    expected = np.log(ddim_factors(3.0, 10)).sum()
    np.testing.assert_allclose(sweep.epsilons, EPSILONS)
    # Noises are float32, whose rounding is 1e-3 of the smallest perturbation.
    np.testing.assert_allclose(sweep.growth, expected, atol=2e-3)
    assert sweep.linear.all() and sweep.value == pytest.approx(expected, abs=1e-3)
    low, high = sweep.interval
    assert low <= sweep.value <= high and sweep.to_json()


def test_large_perturbations_of_two_gaussians_leave_the_plateau(tmp_path):
    scheduler = scheduler_of("ddim")
    network = TwoGaussians(torch.tensor([1.0, 0.0, 0.0, 0.0]), 0.3, scheduler)
    found = dynamics.divergence(recorded(denoiser_of(network, scheduler, 4), tmp_path), layers=())
    sweep = dynamics.epsilon_sweep(found)
    assert sweep.linear.tolist()[:3] == [True] * 3 and not sweep.linear[-1]
    along = found.sel(sample=found["epsilon"] == 1e-2)
    growth = np.log(along["separation"][:, -1] / along["separation"][:, 0])
    assert sweep.value == pytest.approx(float(np.median(growth)), abs=0.01)
    half = dynamics.epsilon_sweep(found, state=5)
    assert half.origin["state"] == 5 and half.value != pytest.approx(sweep.value, abs=1e-3)


def test_perturbations_below_the_noise_floor_are_not_on_the_plateau(linear_run, tmp_path):
    run = tmp_path / "run.zarr"
    shutil.copytree(linear_run, run)
    opening.set_attribute(run, "noise_floor", {"per_state_l2": [0.0] * 10 + [0.05]})
    sweep = dynamics.epsilon_sweep(dynamics.divergence(run, layers=()))
    assert sweep.usable.tolist() == sweep.linear.tolist() == [False] * 3 + [True] * 4
    opening.set_attribute(run, "noise_floor", {"per_state_l2": [0.0] * 10 + [5.0]})
    sweep = dynamics.epsilon_sweep(dynamics.divergence(run, layers=()))
    assert np.isnan(sweep.value) and sweep.interval is None and "no linear range" in sweep.warnings[-1]
    assert sweep.to_dict()["value"] is None


def test_wrong_arguments_are_refused(tiny, linear_run, tmp_path):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    found = dynamics.divergence(ds.record(tiny, x, tmp_path / "run.zarr", steps=2))
    with pytest.raises(ds.UserError, match="pairs of 1 epsilons; allowed: 3 or more"):
        dynamics.epsilon_sweep(found)
    found = dynamics.divergence(linear_run, layers=())
    for state in (11, -12, 1.5, True):
        with pytest.raises(ds.UserError, match=f"state is {state}; allowed: .*-11 to 10"):
            dynamics.epsilon_sweep(found, state=state)
    for state in (0, -11):
        with pytest.raises(ds.UserError, match=f"state={state} is x_T; allowed: 1 to 10, or -1"):
            dynamics.epsilon_sweep(found, state=state)
    for options in ({"confidence": 95}, {"tolerance": -1}, {"tolerance": np.nan}):
        with pytest.raises(ds.UserError, match=r"allowed: a (whole )?number"):
            dynamics.epsilon_sweep(found, **options)
    for wrong in (tmp_path / "run.zarr", ds.open(tmp_path / "run.zarr"), found["separation"]):
        with pytest.raises(
            ds.UserError, match=r"divergence is .*; allowed: the result of ds.dynamics.divergence"
        ):
            dynamics.epsilon_sweep(wrong)
