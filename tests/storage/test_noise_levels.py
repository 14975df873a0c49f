"""Timesteps and noise levels of states and steps."""

import numpy as np
import pytest
import xarray

from denoscope.storage.noise_levels import level_coords, with_levels

TIMESTEPS, SIGMAS = np.array([900, 600, 300]), np.array([9.0, 3.0, 1.0])


def sequence_of(coords) -> tuple[xarray.DataArray, xarray.Dataset]:
    """A sequence of three steps in a dataset with these coordinates."""
    array = ("sample", "state"), np.zeros((2, 4))
    found = xarray.Dataset({"sequence": array}, coords={"state": ("state", np.arange(4)), **coords})
    return found["sequence"], found


def test_all_steps_have_their_levels_alone():
    coords = level_coords(TIMESTEPS, SIGMAS, range(3))
    assert set(coords) == {"timestep", "sigma"}
    assert coords["timestep"][0] == "step" and coords["timestep"][1].tolist() == [900, 600, 300]
    assert coords["sigma"][1].tolist() == [9.0, 3.0, 1.0]


@pytest.mark.parametrize("recorded", [[0, 1, 2], [0, 2], [1]])
def test_every_state_has_the_level_of_the_step_that_starts_from_it_and_x_0_has_none(recorded):
    coords = level_coords(TIMESTEPS, SIGMAS, recorded) | {"step": ("step", np.array(recorded))}
    assert coords["timestep"][1].tolist() == TIMESTEPS[recorded].tolist()
    array, dataset = sequence_of(coords)
    found = with_levels(array, dataset.coords)
    assert found["sigma"].dims == found["timestep"].dims == ("state",)
    assert found["sigma"].values.tolist() == [9.0, 3.0, 1.0, 0.0]
    np.testing.assert_array_equal(found["timestep"], [900, 600, 300, np.nan])
    assert set(found.coords) == {"state", "sigma", "timestep"}


def test_levels_that_an_early_recording_lacks_are_nan():
    coords = {"step": ("step", [0, 2]), "timestep": ("step", [900, 300]), "sigma": ("step", [9.0, 1.0])}
    array, dataset = sequence_of(coords)
    found = with_levels(array, dataset.coords)
    np.testing.assert_array_equal(found["sigma"], [9.0, np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(found["timestep"], [900, np.nan, 300, np.nan])


def test_the_levels_follow_what_is_selected():
    array, dataset = sequence_of(level_coords(TIMESTEPS, SIGMAS, range(3)) | {"step": ("step", np.arange(3))})
    found = with_levels(array, dataset.coords)
    assert found.isel(state=[2, 0])["sigma"].values.tolist() == [1.0, 9.0]
    assert found.swap_dims(state="sigma").sel(sigma=3.0)["timestep"] == 600
