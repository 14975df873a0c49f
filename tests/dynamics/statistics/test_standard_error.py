"""Standard errors and quantiles against scipy and against series whose scatter is known."""

import numpy as np
import pytest
from scipy import stats

from denoscope.dynamics.statistics.proportion import wilson
from denoscope.dynamics.statistics.standard_error import (
    batch_error,
    clustered_interval,
    jackknife_error,
    jackknife_reach,
    student_quantile,
)
from denoscope.foundation.errors import UserError


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 19, 100, 2001])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantiles_are_scipys(degrees, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-9)


def test_batches_see_the_correlation_of_a_series():
    # x_n = 0.8 x_{n−1} + noise: the variance of the mean is 1/(1 − 0.8)² / n.
    rng = np.random.default_rng(0)
    series = np.zeros((20_000, 50))
    noise = rng.normal(size=series.shape)
    for n in range(1, len(series)):
        series[n] = 0.8 * series[n - 1] + noise[n]
    errors = batch_error(series, batches=20)
    assert np.sqrt((errors**2).mean()) == pytest.approx(5 / np.sqrt(20_000), rel=0.1)
    covered = np.abs(series.mean(axis=0)) <= student_quantile(0.95, 19) * errors
    # Binomial with 0.95: 42 or fewer of 50 has a probability below 1 %.
    assert covered.sum() >= 43


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=30)
    left = np.array([np.delete(values, k).mean() for k in range(30)])
    assert jackknife_error(left) == pytest.approx(stats.sem(values))


@pytest.mark.parametrize("samples", [7, 20, 60])
def test_the_reach_of_a_mean_is_that_of_the_means_of_its_groups(samples):
    values = np.random.default_rng(1).normal(size=samples)
    groups = values.reshape(min(samples, 20), -1).mean(axis=1)
    expected = stats.t.ppf(0.95, len(groups) - 1) * stats.sem(groups)
    found = jackknife_reach(lambda kept: values[kept].mean(), samples, confidence=0.9)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_reach_is_infinite_where_one_group_held_all_that_varies():
    values = np.array([1.0, 0.0, 0.0, 0.0, 0.0])

    def skewness(kept):
        return stats.skew(values[kept]) if np.ptp(values[kept]) else np.nan

    assert jackknife_reach(skewness, 5, confidence=0.95) == np.inf


@pytest.mark.parametrize("confidence", [0, 1, 95, np.nan, "high"])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(UserError, match=r"confidence is .*; allowed: a number above 0 and below 1"):
        student_quantile(confidence, 19)


@pytest.mark.parametrize("clusters", [2, 3, 8, 30])
@pytest.mark.parametrize("alike", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.97])
def test_the_interval_of_clusters_covers_the_share_however_alike_their_draws_are(clusters, alike, share):
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
