"""Standard errors and quantiles against scipy and against series whose scatter is known."""

import numpy as np
import pytest
from scipy import stats

from denoscope.dynamics.standard_error import batch_error, jackknife_error, student_quantile
from denoscope.errors import UserError


@pytest.mark.parametrize("degrees", [5, 9, 19, 100])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_quantiles_are_scipys(degrees, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    assert student_quantile(confidence, degrees) == pytest.approx(expected, abs=1e-3)


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


def test_a_confidence_that_is_none_is_refused():
    with pytest.raises(UserError, match="between 0 and 1"):
        student_quantile(95, 19)
