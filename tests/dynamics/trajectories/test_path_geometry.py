"""Lengths, angles and speeds of paths with known geometry."""

import math

import numpy as np
import pytest
import torch
import xarray
from analytic import levels, scheduler_of, timesteps

from denoscope.dynamics.trajectories.participation import participation
from denoscope.dynamics.trajectories.path_geometry import path_geometry
from denoscope.foundation.errors import UserError


def polygon(corners, radius=2.0):
    angles = 2 * np.pi * np.arange(corners + 1) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)[None]


def test_a_regular_polygon_turns_by_its_exterior_angle():
    found = path_geometry(polygon(12))
    assert found.turning_angles == pytest.approx(np.full((1, 11), 2 * math.pi / 12))
    assert found.lengths == pytest.approx([12 * 2 * 2.0 * math.sin(math.pi / 12)])
    assert found.chords == pytest.approx([0], abs=1e-12)
    assert not found.warnings


def test_a_straight_line_is_straight_and_a_return_turns_by_pi():
    line = np.array([0.0, 1.0, 3.0, 4.0])[None, :, None] * np.array([3.0, 4.0])
    found = path_geometry(line)
    assert found.straightness == pytest.approx([1])
    assert found.turning_angles == pytest.approx(np.zeros((1, 2)), abs=1e-12)
    assert found.step_lengths[0] == pytest.approx([5, 10, 5])
    back = path_geometry(np.array([0.0, 1.0, 0.0])[None, :, None])
    assert back.turning_angles[0, 0] == pytest.approx(math.pi)


def test_tiny_angles_are_accurate():
    # arccos of the cosine would give zero here.
    bend = np.array([[0, 0], [1, 0], [2, 1e-9]])[None]
    assert path_geometry(bend).turning_angles[0, 0] == pytest.approx(1e-9, rel=1e-6)


def test_independent_steps_in_many_dimensions_are_at_right_angles():
    walk = torch.randn(5, 50, 1, 50, 50, generator=torch.Generator().manual_seed(0)).cumsum(1)
    found = path_geometry(walk)
    assert found.turning_angles.shape == (5, 48)
    assert found.turning_angles == pytest.approx(np.full((5, 48), math.pi / 2), abs=0.1)
    # The chord of a walk of n equal steps is √n of them.
    assert found.straightness == pytest.approx(np.full(5, 1 / math.sqrt(49)), rel=0.1)


def test_speed_is_length_over_the_change_of_noise_level():
    sigmas = [4.0, 2.0, 0.5, 0.0]
    path = np.array(sigmas)[None, :, None] * np.array([3.0, 4.0])
    found = path_geometry(path, sigmas=sigmas)
    assert found.speeds == pytest.approx(np.full((1, 3), 5)) and found.sigmas.tolist() == sigmas
    assert path_geometry(path).speeds is None and path_geometry(path).sigmas is None


def test_ddim_without_clipping_moves_by_the_predicted_noise():
    """x_t/√ᾱ changes by Δσ times ε, so that the norms of the predicted noise are the speeds."""
    scheduler, steps = scheduler_of("ddim"), 5
    predictions = []

    def network(x, _timestep):
        predictions.append(torch.sin(3 * x))
        return predictions[-1]

    every = np.append(levels(scheduler)[timesteps(steps)], 1)
    scheduler.set_timesteps(steps)
    x = torch.randn(4, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    states = [x]
    for t in scheduler.timesteps:
        states.append(scheduler.step(network(states[-1], t), t, states[-1]).prev_sample)
    paths = torch.stack(states, 1).numpy() / np.sqrt(every)[None, :, None, None, None]
    found = path_geometry(paths, sigmas=np.sqrt((1 - every) / every))
    norms = torch.stack(predictions, 1).flatten(2).norm(dim=2)
    np.testing.assert_allclose(found.speeds, norms, rtol=1e-3)  # the scheduler's tables are float32


def test_steps_of_length_0_give_a_warning():
    found = path_geometry(np.array([[[0.0], [1.0], [1.0], [2.0]], [[3.0]] * 4]))
    assert np.isnan(found.turning_angles).all() and np.isnan(found.straightness[1])
    assert found.straightness[0] == 1
    assert "4 steps have length 0, the first one in sample 0, step 1" in found.warnings[0]


@pytest.mark.parametrize(
    ("trajectories", "sigmas", "message"),
    [
        (np.zeros((2, 1, 3)), None, "1 states per trajectory"),
        (np.zeros(5), None, "single one as"),
        (np.full((2, 3, 4), np.nan), None, r"24 NaN or Inf among 24 numbers, the first at \[0, 0, 0\]"),
        (polygon(3), [3, 2, 1], "sigmas has shape"),
        (polygon(3), [3, 2, 1, -1], "sigmas holds -1; allowed: noise levels of at least 0"),
        (polygon(3), [3, 2, 2, 1], "sigmas is 2 before and after step 1"),
    ],
)
def test_invalid_arguments_are_refused(trajectories, sigmas, message):
    with pytest.raises(UserError, match=message):
        path_geometry(trajectories, sigmas=sigmas)


def test_levels_of_a_sequence_give_its_speeds():
    sigma, timestep = [3.0, 2.0, 1.0, 0.0], [600, 300, 0, np.nan]
    x = xarray.DataArray(
        np.random.default_rng(0).normal(size=(6, 4, 1, 2, 2)),
        dims=("sample", "state", "channel", "height", "width"),
        coords={"sigma": ("state", sigma), "timestep": ("state", timestep)},
    )
    found = path_geometry(x)
    np.testing.assert_array_equal(found.speeds, path_geometry(x.to_numpy(), sigmas=sigma).speeds)
    np.testing.assert_array_equal(found.timesteps, timestep)
    assert participation(x).sigmas.tolist() == sigma
    assert path_geometry(x.to_numpy()).speeds is None and participation(x.to_numpy()).timesteps is None
