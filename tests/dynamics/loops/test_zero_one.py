"""The 0–1 test against known answers and a plain implementation of its definition."""

import numpy as np
import pytest

from denoscope.dynamics.loops.zero_one import zero_one
from denoscope.foundation.errors import UserError


def logistic(r, n=2000, x=0.3):
    for _ in range(1000):
        x = r * x * (1 - x)
    series = []
    for _ in range(n):
        x = r * x * (1 - x)
        series.append(x)
    return np.array(series)


def noise(n=2000, seed=0):
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(("series", "expected"), [(logistic(3.5), 0), (logistic(4.0), 1), (noise(), 1)])
def test_known_answers(series, expected):
    found = zero_one(series)
    assert found.value == pytest.approx(expected, abs=0.05)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert not found.warnings


def test_two_incommensurate_tones_are_regular():
    times = np.arange(2000)
    assert zero_one(np.cos(2.0 * times) + np.cos(np.sqrt(7) * times)).value == pytest.approx(0, abs=0.1)


def by_definition(series, c):
    """K_c, written as in the definition."""
    n = len(series)
    j = np.arange(1, n + 1)
    p, q = np.cumsum(series * np.cos(j * c)), np.cumsum(series * np.sin(j * c))
    lags = np.arange(1, n // 10 + 1)
    kept = n - n // 10
    growth = [
        np.mean((p[lag : lag + kept] - p[:kept]) ** 2 + (q[lag : lag + kept] - q[:kept]) ** 2)
        - np.mean(series) ** 2 * (1 - np.cos(lag * c)) / (1 - np.cos(c))
        for lag in lags
    ]
    return np.corrcoef(lags, growth)[0, 1]


def test_every_correlation_is_that_of_the_definition():
    series = logistic(3.9, 1000)
    found = zero_one(series, frequencies=12, seed=3)
    assert found.correlations == pytest.approx(
        [by_definition(series - series.mean(), c) for c in found.frequencies], abs=1e-9
    )
    assert found.value == np.median(found.correlations)
    assert (found.frequencies > np.pi / 5).all() and (found.frequencies < 4 * np.pi / 5).all()


@pytest.mark.parametrize(("frequencies", "place"), [(10, 2), (25, 8), (100, 40)])
def test_the_interval_lies_between_the_order_statistics_of_conovers_table(frequencies, place):
    found = zero_one(noise(300), frequencies=frequencies)
    ordered = np.sort(found.correlations)
    assert found.interval == (ordered[place - 1], ordered[-place])


def test_damping_suppresses_weak_noise_but_not_chaos():
    weak = logistic(3.5) + 0.02 * noise()
    assert zero_one(weak, damping=2.5).value < 0.5 * zero_one(weak).value
    assert zero_one(logistic(4.0), damping=2.5).value > 0.95


def test_a_shift_of_the_series_does_not_change_the_damping():
    # For so large an α only the damping matters, and K_c is that of sin(√2 n) for any mean.
    lags = np.arange(1, 101)
    expected = np.corrcoef(lags, np.sin(np.sqrt(2) * lags))[0, 1]
    assert zero_one(noise(1000) + 5, damping=1e9).value == pytest.approx(expected, abs=1e-6)


def test_short_and_smooth_series_give_a_warning():
    assert "few" in zero_one(logistic(4.0, 500)).warnings[0]
    assert "too finely" in zero_one(np.sin(0.05 * np.arange(2000))).warnings[0]


def test_a_series_that_is_zero_after_the_start_has_a_finite_k():
    series = np.zeros(1000)
    series[:2] = 1, -1
    assert np.isfinite(zero_one(series).value)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (noise(51), "51 values; allowed: at least 200"),
        (np.ones(1000), "constant at 1"),
        (np.full(1000, np.nan), "NaN or Inf"),
        (noise(1000).reshape(500, 2), "one number per time"),
        (noise(1000) * 1j, "real numbers"),
    ],
)
def test_wrong_series_are_refused(series, message):
    with pytest.raises(UserError, match=message):
        zero_one(series)


def test_too_few_frequencies_are_refused():
    with pytest.raises(UserError, match="frequencies is 5; allowed: an integer of at least 10"):
        zero_one(noise(), frequencies=5)


def test_a_damping_that_overflows_is_refused():
    with pytest.raises(
        UserError, match=r"damping is 1e\+308; allowed: a number of at least 0 and at most 1e\+12"
    ):
        zero_one(np.sin(np.arange(300)), damping=1e308)


def test_a_wrong_seed_is_refused():
    with pytest.raises(UserError, match="seed is -1; allowed: an integer"):
        zero_one(noise(), seed=-1)


def test_a_series_of_rounding_errors_gives_a_warning():
    rng = np.random.default_rng(0)
    settled = (0.5 + 1e-7 * rng.normal(size=2000)).astype(np.float32)
    assert any("as by rounding" in warning for warning in zero_one(settled, seed=0).warnings)
    moving = 0.5 + 1e-3 * rng.normal(size=2000)
    assert not any("rounding" in warning for warning in zero_one(moving, seed=0).warnings)


@pytest.mark.parametrize(("factor", "offset"), [(1, 1e4), (1e-4, -0.8), (1, 1e3)])
def test_an_offset_changes_nothing(factor, offset):
    x = [0.3]
    for _ in range(2999):
        x.append(4 * x[-1] * (1 - x[-1]))
    assert zero_one(factor * np.array(x) + offset, seed=0).value == pytest.approx(
        zero_one(x, seed=0).value, abs=1e-3
    )
