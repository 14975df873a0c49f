"""Whatever holds numbers is read as float64, and what cannot be measured is refused in one line."""

import numpy as np
import pytest
import torch
import xarray

from denoscope.dynamics.statistics.points import as_array, as_points, as_trajectories
from denoscope.dynamics.trajectories.participation import participation
from denoscope.dynamics.trajectories.path_geometry import path_geometry
from denoscope.dynamics.trajectories.trajectory_distances import trajectory_distances
from denoscope.foundation.errors import UserError


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.float16),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16, requires_grad=True),
        xarray.DataArray([[1, 2], [3, 4]], dims=("sample", "step")),
    ],
)
def test_all_kinds_of_arrays(given):
    found = as_array(given, "x")
    assert found.dtype == np.float64 and found.tolist() == [[1, 2], [3, 4]]


def test_shapes_are_flattened():
    assert as_points(np.arange(5), name="x", least=2).shape == (5, 1)
    assert as_points(np.arange(24).reshape(4, 2, 3), name="x", least=2).shape == (4, 6)
    assert as_trajectories(np.arange(24).reshape(2, 3, 2, 2), name="x", least=2).shape == (2, 3, 4)
    assert as_trajectories(np.arange(6).reshape(2, 3), name="x", least=2).shape == (2, 3, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 2], [3]], "x: rows of unequal length"),
        (["a"], "real numbers"),
        (torch.tensor([1j]), "real numbers"),
        ([1.0, np.nan, np.inf], r"2 of 3 numbers that are not finite, the first at \[1\]"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(UserError, match=message):
        as_array(given, "x")


@pytest.mark.parametrize("measure", [path_geometry, participation, trajectory_distances])
@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_states_whose_squares_no_number_holds_are_refused(measure, size):
    paths = size * np.random.default_rng(0).normal(size=(6, 4, 3))
    with pytest.raises(UserError, match=r"numbers of up to .*e.200, .* divide all of them by"):
        measure(paths)


def test_states_of_the_largest_size_that_is_allowed_are_measured_right():
    paths = np.random.default_rng(0).normal(size=(6, 4, 3))
    paths /= np.abs(paths).max()
    for size in (1e59, 1e-59):
        large = path_geometry(size * paths)
        np.testing.assert_allclose(large.straightness, path_geometry(paths).straightness)
        for name in ("ratio", "corrected", "shares", "intervals"):
            found, expected = (getattr(participation(scale * paths), name) for scale in (size, 1))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_no_points_are_refused():
    with pytest.raises(UserError, match="points are needed"):
        as_points([], name="x", least=2)
