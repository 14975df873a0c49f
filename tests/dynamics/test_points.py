"""Whatever holds numbers is read as float64, and what cannot be measured is refused in one line."""

import numpy as np
import pytest
import torch
import xarray

from denoscope.dynamics.points import as_array, as_points, as_trajectories
from denoscope.errors import UserError


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


def test_no_points_are_refused():
    with pytest.raises(UserError, match="points are needed"):
        as_points([], name="x", least=2)
