"""Basin fractions: their intervals against hand computations, and how often they contain the true share."""

import math

import numpy as np
import pytest
import torch
from label_planes import half_plane
from scipy import ndimage

from denoscope.dynamics.boundaries.basin_fractions import basin_fractions
from denoscope.foundation.errors import UserError


def test_fractions_of_independent_draws_have_wilson_intervals():
    labels = np.repeat([0, 1, 4], [5, 0, 15])
    result = basin_fractions(labels)
    assert result.classes == (0, 4)
    np.testing.assert_allclose(result.fractions, [0.25, 0.75])
    # The roots of |5/20 − p| = 1.96 √(p(1−p)/20).
    np.testing.assert_allclose(result.intervals[0], [0.1119, 0.4687], atol=5e-5)


def test_intervals_of_independent_draws_have_the_nominal_coverage():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        result = basin_fractions(generator.choice(3, 80, p=[0.2, 0.3, 0.5]))
        covered += result.intervals[0, 0] <= 0.2 <= result.intervals[0, 1]
    assert 0.92 <= covered / 400 <= 0.98


def test_intervals_of_a_plane_count_blobs_rather_than_cells():
    generator = np.random.default_rng(4)
    covered, naive = 0, 0
    for _ in range(100):
        labels = np.kron(generator.random((40, 40)) < 0.3, np.ones((4, 4), dtype=int)).astype(int)
        result = basin_fractions(labels)
        covered += result.intervals[1, 0] <= 0.3 <= result.intervals[1, 1]
        naive += abs(result.fractions[1] - 0.3) < 1.96 * math.sqrt(0.21 / labels.size)
    assert covered >= 91  # of 95 %, fewer have a probability of 2.8 %
    assert naive < 50


def test_one_class_and_wide_basins_give_warnings():
    assert "all cells have label 3" in basin_fractions(np.full((20, 20), 3)).warnings[0]
    assert "basins of 0, 1" in basin_fractions(half_plane(100, 0.3)).warnings[0]


@pytest.mark.parametrize(
    ("labels", "options", "line"),
    [
        ([], {}, r"labels have shape \[0\]; allowed: at least one label, \[n\] or \[ny, nx\]"),
        (3, {}, r"labels have shape \[\]; allowed"),
        (np.zeros((2, 3, 4), int), {}, r"labels have shape \[2, 3, 4\]; allowed"),
        ([0.5, 1.5], {}, "labels are float64"),
        ([0, 1], {"confidence": 2}, "confidence is 2"),
    ],
)
def test_invalid_input_is_refused(labels, options, line):
    with pytest.raises(UserError, match=line):
        basin_fractions(labels, **options)


@pytest.mark.parametrize(
    ("size", "width"),
    [(14, 1), (100, 3), *(pytest.param(size, 1, marks=pytest.mark.slow) for size in (26, 40))],
)
def test_intervals_of_small_basins_contain_the_share(size, width):
    """Noise smoothed over some cells and cut at its mean: each class has half of the plane on average."""
    draws, covered = np.random.default_rng(0), 0
    for _ in range(50):
        field = ndimage.gaussian_filter(draws.standard_normal((size + 40,) * 2), width)[20:-20, 20:-20]
        low, high = basin_fractions((field > 0).astype(int)).intervals[1]
        covered += low <= 0.5 <= high
    assert covered >= 43  # of 95 %, fewer have a probability of 0.3 %


@pytest.mark.slow
@pytest.mark.parametrize("width", [4, 6, 8])
def test_intervals_of_wide_basins_contain_the_share(width):
    """Correlation lengths up to an eighth of the plane."""
    draws, covered = np.random.default_rng(1), 0
    for _ in range(200):
        field = ndimage.gaussian_filter(draws.standard_normal((60 + 8 * width,) * 2), width)
        inner = field[4 * width : -4 * width, 4 * width : -4 * width]
        low, high = basin_fractions((inner > 0).astype(int)).intervals[1]
        covered += low <= 0.5 <= high
    assert covered >= 178  # of 95 %, fewer have a probability of 0.03 %


def test_wide_basins_on_a_small_plane_give_a_warning():
    half = (np.arange(14)[:, None] * np.ones(14) < 7).astype(int)
    assert "basins of 0, 1" in basin_fractions(half).warnings[0]


def test_tensors_and_arrays_give_the_same_fractions():
    labels = half_plane(30, 0.3)
    assert basin_fractions(torch.from_numpy(labels)).to_json() == basin_fractions(labels).to_json()
