"""States that repeat up to rounding, outliers and scalar series: correlation dimension and recurrence."""

import math

import numpy as np
import pytest
import torch

from denoscope.dynamics.loops.correlation_dimension import correlation_dimension
from denoscope.dynamics.loops.recurrence import recurrence
from denoscope.dynamics.trajectories.similarity import linear_cka
from denoscope.foundation.errors import UserError


def cycle(period: int, count: int) -> np.ndarray:
    """A cycle on a circle, with the rounding errors of the sine of a growing phase."""
    phase = 2 * np.pi * np.arange(count) / period
    return np.stack([np.cos(phase), np.sin(phase)], 1)


def henon(count: int) -> np.ndarray:
    x, y, points = 0.1, 0.1, []
    for _ in range(count + 100):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        points.append((x, y))
    return np.array(points[100:])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("period", "count"), [(10, 1000), (7, 1500), (200, 1000), (3, 250)])
def test_a_cycle_has_no_correlation_dimension(period, count, dtype):
    # In float32 the rounding of the states themselves is far larger than that of their phase.
    with pytest.raises(UserError, match=f"only {period} of {count} points are distinct up to rounding"):
        correlation_dimension(cycle(period, count).astype(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_orbit_that_short_dtypes_repeat_has_none(dtype):
    x, states = torch.tensor(0.3, dtype=dtype), []
    for _ in range(2000):
        x = 3.9 * x * (1 - x)
        states.append(x)
    with pytest.raises(UserError, match="distinct up to rounding"):
        correlation_dimension(torch.stack(states[500:]))


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_rounding_that_is_small_beside_the_distances_changes_nothing(offset):
    points = henon(1500)
    expected = correlation_dimension(points)
    found = correlation_dimension(points.astype(np.float32))
    assert found.value == pytest.approx(expected.value, abs=0.01)
    shifted = correlation_dimension(points + offset)
    assert shifted.value == pytest.approx(expected.value, abs=1e-6)


SHORT = {
    "float32": lambda points: points.astype(np.float32),
    "float16": lambda points: points.astype(np.float16),
    "bfloat16": lambda points: torch.tensor(points).bfloat16(),
}


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("period", [5, 7, 10])
def test_a_cycle_is_deterministic_in_every_dtype(period, dtype):
    found = recurrence(SHORT[dtype](cycle(period, 700)))
    # Of n = qp + r states r groups of equal ones have q + 1 members and p − r have q.
    q, r = divmod(700, period)
    equal = (r * (q + 1) * q + (period - r) * q * (q - 1)) / (700 * 699)
    assert found.determinism == 1 and found.recurrence_rate == pytest.approx(equal, abs=1e-12)


@pytest.mark.parametrize("dtype", SHORT)
def test_a_cycle_of_ten_has_no_dimension_in_any_dtype(dtype):
    with pytest.raises(UserError, match="only 10 of 2000 points are distinct up to rounding"):
        correlation_dimension(SHORT[dtype](cycle(10, 2000)))


def test_short_dtypes_that_resolve_an_orbit_keep_its_dimension_and_rate():
    points = henon(1500)
    half = points.astype(np.float16)
    assert recurrence(half).recurrence_rate == pytest.approx(0.05, abs=0.005)
    assert correlation_dimension(half).value == pytest.approx(correlation_dimension(points).value, abs=0.02)


@pytest.mark.parametrize("period", [2, 5, 7, 10, 64])
@pytest.mark.parametrize("count", [700, 4000])
def test_a_cycle_is_deterministic(period, count):
    found = recurrence(cycle(period, min(count, 20 * period + 500)))
    assert found.determinism == 1
    if period < 20:  # all pairs of equal states are recurrent, which are more than the rate of 0.05
        assert found.recurrence_rate == pytest.approx(1 / period, rel=0.02)
        assert any("equal up to rounding" in line for line in found.warnings)


def test_a_state_at_rest_up_to_rounding_is_refused():
    rest = 0.7 + 1e-16 * np.random.default_rng(0).integers(-1, 2, (500, 3))
    for measure in (correlation_dimension, recurrence, lambda points: linear_cka(points, henon(500))):
        with pytest.raises(UserError, match="equal, or differ by rounding only"):
            measure(rest)


@pytest.mark.parametrize("outlier", [1e6, -1e9, 1e3])
def test_an_outlier_changes_neither_the_dimension_nor_its_bound(outlier):
    points = np.random.default_rng(0).standard_normal((1000, 3))
    expected = correlation_dimension(points)
    points[7] = outlier
    found = correlation_dimension(points)
    assert found.value == pytest.approx(expected.value, abs=0.05)
    assert found.bound == pytest.approx(expected.bound, abs=0.5)
    single = correlation_dimension(points.astype(np.float32))
    assert single.bound == pytest.approx(expected.bound, abs=0.5)


@pytest.mark.parametrize(
    "series",
    [
        henon(1500)[:, 0],
        np.random.default_rng(0).uniform(size=800),
        np.sin(math.sqrt(2) * np.arange(1000)) + np.sin(math.sqrt(3) * np.arange(1000)),
    ],
)
def test_a_scalar_series_says_when_it_must_be_embedded(series):
    found = correlation_dimension(series)
    assert found.value < 1.05 and any("embed" in line for line in found.warnings)
    embedded = correlation_dimension(np.stack([series[:-1], series[1:]], 1))
    assert embedded.value > found.value + 0.1
    assert not any("embed" in line for line in embedded.warnings)


def test_a_scalar_set_of_smaller_dimension_says_nothing_of_embedding():
    digits = np.random.default_rng(0).integers(0, 2, (1500, 25)) * 2
    found = correlation_dimension(digits @ 3.0 ** -np.arange(1, 26))
    assert found.value == pytest.approx(math.log(2) / math.log(3), abs=0.04)
    assert not any("embed" in line for line in found.warnings)
