"""Standard errors against SciPy and against series with a known variance of the mean."""

import numpy as np
import pytest
from scipy import stats

from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.standard_errors import batch_error, jackknife_error, jackknife_reach


def test_batch_means_account_for_the_correlation_of_a_series():
    # x_n = 0.8 x_{n−1} + noise: the variance of the mean is 1/(1 − 0.8)² / n.
    rng = np.random.default_rng(0)
    series = np.zeros((20_000, 50))
    noise = rng.normal(size=series.shape)
    for n in range(1, len(series)):
        series[n] = 0.8 * series[n - 1] + noise[n]
    errors = batch_error(series, batches=20)
    assert np.sqrt((errors**2).mean()) == pytest.approx(5 / np.sqrt(20_000), rel=0.1)
    covered = np.abs(series.mean(axis=0)) <= student_quantile(0.95, 19) * errors
    # Binomial with 0.95: 42 or fewer of 50 have a probability below 1 %.
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
    found = jackknife_reach(lambda kept: kept @ values / kept.sum(axis=1), samples, confidence=0.9)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_reach_is_infinite_if_one_group_contains_all_the_variation():
    values = np.array([1.0, 0.0, 0.0, 0.0, 0.0])

    def skewness(masks):
        kept = [values[mask] for mask in masks]
        return np.array([stats.skew(one) if np.ptp(one) else np.nan for one in kept])

    assert jackknife_reach(skewness, 5, confidence=0.95) == np.inf
