"""Correlation dimensions of sets with known dimensions, and of too few points."""

import math

import numpy as np
import pytest

from denoscope.dynamics.loops.correlation_dimension import correlation_dimension
from denoscope.dynamics.statistics import pairwise
from denoscope.foundation.errors import UserError


def uniform(n, d, seed=0):
    return np.random.default_rng(seed).uniform(size=(n, d))


def henon(n):
    x, y = 0.0, 0.0
    points = []
    for _ in range(n + 500):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        points.append((x, y))
    return np.array(points[500:])


def logistic(r, n, x=0.3):
    series = []
    for _ in range(n + 5000):
        x = r * x * (1 - x)
        series.append(x)
    return np.array(series[5000:])


def test_henon_is_the_published_value():
    # Grassberger and Procaccia, Physica D 9, 189 (1983): 1.21 ± 0.01 plain, 1.25 ± 0.02 embedded.
    found = correlation_dimension(henon(4000))
    assert found.value == pytest.approx(1.22, abs=0.03)
    assert found.interval[0] <= 1.22 <= found.interval[1]
    assert found.value < found.bound
    assert not found.warnings


def test_the_logistic_map_at_the_onset_of_chaos_is_the_published_value():
    # Grassberger and Procaccia (1983), table 1: 0.500 ± 0.005 at r = 3.5699456….
    series = logistic(3.5699456718709, 2000)
    found = correlation_dimension(series, radii=(1e-4, 0.1))
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert not found.warnings
    # The orbit fills its set so regularly that small radii show its resolution: there is a warning, and the interval covers it.
    automatic = correlation_dimension(series)
    assert any("not a straight line" in line for line in automatic.warnings)
    assert automatic.interval[0] <= 0.5 <= automatic.interval[1]


def test_a_cantor_set_is_ln_2_over_ln_3():
    digits = np.random.default_rng(0).integers(0, 2, size=(2000, 25)) * 2
    found = correlation_dimension(digits @ 3.0 ** -np.arange(1, 26))
    assert found.value == pytest.approx(math.log(2) / math.log(3), abs=0.02)
    assert found.interval[0] <= math.log(2) / math.log(3) <= found.interval[1]


def test_a_line_and_a_square():
    line = uniform(2000, 1) * np.array([[3.0, -1.0, 2.0]])
    assert correlation_dimension(line).value == pytest.approx(1, abs=0.03)
    square = correlation_dimension(uniform(4000, 2))
    assert square.value == pytest.approx(2, abs=0.05)
    assert square.value < square.bound


@pytest.mark.slow
def test_sharp_edges_lower_the_slope_as_stated():
    for dimension, lower in {2: 0.01, 6: 0.11}.items():
        values = [correlation_dimension(uniform(4000, dimension, seed)).value for seed in range(5)]
        assert 1 - np.mean(values) / dimension == pytest.approx(lower, abs=0.01)
    ends = [correlation_dimension(logistic(4.0, 4000, x)).value for x in (0.3, 0.41, 0.57, 0.62, 0.73)]
    assert 1 - np.mean(ends) == pytest.approx(0.09, abs=0.01)


def test_the_interval_covers_the_line():
    runs = [correlation_dimension(uniform(800, 1, seed)) for seed in range(20)]
    covered = sum(run.interval[0] <= 1 <= run.interval[1] for run in runs)
    assert covered >= 17
    assert np.mean([np.ptp(run.interval) for run in runs]) < 0.3


def test_sums_are_the_shares_of_counted_pairs():
    points = uniform(250, 2)
    found = correlation_dimension(points, theiler=3)
    gaps = np.abs(np.subtract.outer(np.arange(250), np.arange(250)))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)[gaps > 3]
    expected = [(apart <= r * (1 + 1e-9)).mean() for r in found.radii]
    assert found.sums == pytest.approx(expected, abs=1e-9)


def test_the_size_of_blocks_does_not_change_the_result(monkeypatch):
    whole = correlation_dimension(uniform(400, 2), theiler=2)
    monkeypatch.setattr(pairwise, "BLOCK_NUMBERS", 400 * 7)
    small = correlation_dimension(uniform(400, 2), theiler=2)
    assert np.array_equal(whole.sums, small.sums) and whole.interval == pytest.approx(small.interval)


def test_a_smooth_curve_needs_a_theiler_window():
    # One pass along a curve that fills a torus: neighbours in time look like a line.
    times = 0.04 * np.arange(2000)
    torus = np.stack(
        [np.cos(times), np.sin(times), np.cos(np.sqrt(2) * times), np.sin(np.sqrt(2) * times)], 1
    )
    assert any("increase theiler" in line for line in correlation_dimension(torus).warnings)
    assert not any("increase theiler" in line for line in correlation_dimension(torus, theiler=30).warnings)


def test_a_given_range_is_the_fitted_range():
    found = correlation_dimension(uniform(1000, 1), radii=(0.01, 0.1))
    assert 0.01 <= found.fit_range[0] < found.fit_range[1] <= 0.1
    assert len(found.halves) == 2


def test_noise_in_many_dimensions_is_above_the_bound():
    found = correlation_dimension(np.random.default_rng(0).normal(size=(250, 784)))
    assert found.bound == pytest.approx(2 * math.log10(250), abs=1e-9)
    assert found.value > found.bound
    assert any("Eckmann" in line for line in found.warnings)


def test_a_set_with_two_scales_gives_a_warning():
    # Clusters on a line, each a three-dimensional ball: 3 within, 1 between.
    rng = np.random.default_rng(0)
    points = np.pad(rng.uniform(size=(2000, 1)), ((0, 0), (0, 2))) + 0.003 * rng.uniform(size=(2000, 3))
    found = correlation_dimension(points, radii=(3e-4, 0.1))
    assert found.halves[0] > found.halves[1]
    assert any("not a straight line" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (uniform(61, 5), {}, "61 points; allowed: at least 200.*Eckmann and Ruelle"),
        (np.ones((300, 3)), {}, "equal"),
        (np.full((300, 3), np.inf), {}, "NaN or Inf"),
        (uniform(300, 2), {"theiler": 150}, "theiler is 150; allowed: 0 to 149"),
        (uniform(300, 2), {"theiler": -1}, "theiler is -1"),
        (uniform(300, 2), {"theiler": 1.5}, "theiler is 1.5; allowed: integers 0 to 149"),
        (uniform(300, 2), {"radii": 0.1}, r"radii is 0.1; allowed: \(low, high\)"),
        (uniform(300, 2), {"radii": (0.2, 0.1)}, r"radii is \(0.2, 0.1\)"),
        (uniform(300, 2), {"confidence": 95}, "confidence is 95"),
        (uniform(300, 2), {"radii": (2.0, 3.0)}, "too few radii lie between 2 and 3"),
        (np.tile([0.1, 0.4, 0.7, 0.9], 100), {}, "4 of 400 points are distinct"),
    ],
)
def test_wrong_arguments_are_refused(points, options, message):
    with pytest.raises(UserError, match=message):
        correlation_dimension(points, **options)


def test_a_value_close_to_the_bound_gives_a_warning():
    found = correlation_dimension(np.random.default_rng(0).standard_normal((2000, 6)))
    assert 0.8 * found.bound < found.value <= found.bound
    assert "is close to" in found.warnings[0] and "underestimated" in found.warnings[0]


def test_quasiperiodic_orbits_whose_interval_may_miss_the_dimension_are_warned_of():
    """Their points fill a circle evenly, so that C grows in steps; independent points of the same circle do not."""
    warned = missed = 0
    for seed in range(20):
        draws = np.random.default_rng(seed)
        turns, independent = np.arange(500) * draws.random(), draws.random(500)
        orbit, random = (
            correlation_dimension(np.exp(2j * np.pi * turn).view(float).reshape(-1, 2))
            for turn in (turns, independent)
        )
        warned += bool(orbit.warnings)
        missed += not orbit.interval[0] <= 1 <= orbit.interval[1]
        assert not random.warnings and random.interval[0] <= 1 <= random.interval[1]
    assert missed and warned >= 19
