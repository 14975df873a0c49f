"""Intervals against SciPy, tables, and their coverage of known probabilities."""

import math

import numpy as np
import pytest
from scipy import stats

from denoscope.dynamics.statistics.intervals import (
    clustered_interval,
    mean_interval,
    median_interval,
    percentile_interval,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("confidence", "degrees", "expected"),
    [(0.95, 1, 12.7062), (0.95, 19, 2.0930), (0.9, 4, 2.1318), (0.99, 9, 3.2498), (0.999, 100, 3.3905)],
)
def test_student_quantiles_are_those_of_printed_tables(confidence, degrees, expected):
    assert student_quantile(confidence, degrees) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (50, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_intervals_of_integers_are_scipys(successes, trials, confidence):
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(wilson(successes, trials, confidence=confidence), expected, atol=1e-12)


@pytest.mark.parametrize(("trials", "successes"), [(12.5, 3.25), (1.0, 0.4)])
def test_wilson_intervals_of_fractional_trials_solve_the_score_equation(trials, successes):
    share, z = successes / trials, stats.norm.ppf(0.975)
    for p in wilson(successes, trials):
        assert abs(share - p) == pytest.approx(z * math.sqrt(p * (1 - p) / trials), rel=1e-12)


@pytest.mark.parametrize(
    ("count", "place"), [(5, None), (6, 1), (8, 1), (9, 2), (20, 6), (30, 10), (50, 18), (100, 40)]
)
def test_the_interval_of_a_median_lies_between_the_order_statistics_of_conovers_table(count, place):
    values = np.random.default_rng(count).permutation(count) + 1.0
    expected = None if place is None else (place, count + 1 - place)
    assert median_interval(values) == expected


def test_percentiles_ignore_values_that_are_not_finite():
    values = np.r_[np.arange(101.0), np.nan, np.inf]
    assert percentile_interval(values, confidence=0.9) == pytest.approx((5, 95))
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


@pytest.mark.parametrize("clusters", [2, 3, 8, 30])
@pytest.mark.parametrize("alike", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.97])
def test_the_interval_of_clusters_covers_the_share_for_every_correlation_of_draws(clusters, alike, share):
    """Beta-binomial draws: `alike` is the correlation of two draws of one cluster."""
    draws, rng, number = 16, np.random.default_rng(0), 2000
    of_clusters = rng.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), (clusters, number))
    low, high = clustered_interval(rng.binomial(draws, of_clusters) / draws, draws).T
    assert np.mean((low <= share) & (share <= high)) > 0.88
    assert (high - low > 0).all()


def test_the_interval_of_clusters_that_do_not_differ_is_nearly_that_of_their_draws():
    shares = np.random.default_rng(0).binomial(16, 0.3, (100, 500)) / 16
    widths = np.diff(clustered_interval(shares, 16), axis=-1)
    assert np.median(widths) == pytest.approx(np.diff(wilson(480.0, 1600.0))[0], rel=0.1)


def test_clusters_that_agree_count_as_one_trial_each():
    for share in (0.0, 1.0):
        np.testing.assert_allclose(clustered_interval(np.full((7, 1), share), 50)[0], wilson(7 * share, 7.0))
    np.testing.assert_allclose(clustered_interval(np.array([0.25]), 8), wilson(2.0, 8.0))


def test_clusters_of_unequal_size_have_the_variance_of_a_ratio():
    shares, draws = np.array([0.5, 0.25, 1.0]), np.array([2, 8, 4])
    hits, p = shares * draws, 7 / 14
    variance = 3 / 2 * ((hits - p * draws) ** 2).sum() / 14**2
    trials = p * (1 - p) / variance * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 2)) ** 2
    np.testing.assert_allclose(clustered_interval(shares, draws), wilson(p * max(trials, 1), max(trials, 1)))


def test_clusters_of_one_draw_are_independent_trials():
    shares = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(clustered_interval(shares, 1), wilson(2.0, 5.0))


@pytest.mark.parametrize("number", [3, 5, 10])
def test_the_interval_of_a_mean_square_covers_it(number):
    """Squared distances of Gaussian data: sums of squares of four normal numbers, each draw with its own image."""
    rng, runs = np.random.default_rng(0), 3000
    squares = rng.chisquare(4, (number, runs))
    low, high = mean_interval(squares).T
    assert 0.92 <= np.mean((low <= 4) & (high >= 4)) <= 0.98
    assert (low > 0).all()


def test_the_interval_of_a_mean_is_students_on_a_logarithmic_scale():
    values = np.array([1.0, 2.0, 6.0])
    reach = stats.t.ppf(0.95, 2) * values.std(ddof=1) / math.sqrt(3) / 3
    np.testing.assert_allclose(mean_interval(values, confidence=0.9), 3 * np.exp([-reach, reach]))
    assert np.isnan(mean_interval(np.array([2.0]))).all()
    np.testing.assert_allclose(mean_interval(np.array([2.0, 2.0])), [2, 2])
    assert np.isfinite(mean_interval(np.array([0.0, 0.0, 1e60, 0]))).all()
