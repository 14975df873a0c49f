"""Participation ratios and PCA dimensions of distributions with known values."""

import numpy as np
import pytest

from denoscope.dynamics.trajectories.participation import participation
from denoscope.foundation.errors import UserError


def axes(numbers, directions):
    """States at ± each axis: all directions have the same variance."""
    ends = np.eye(numbers)[:directions]
    return np.concatenate([ends, -ends])[:, None]


@pytest.mark.parametrize("directions", [3, 8])
def test_equal_directions_are_counted(directions):
    found = participation(axes(20, directions), variance=0.9)
    assert found.ratio == pytest.approx([directions])
    assert found.pca_dimension.tolist() == [int(np.ceil(0.9 * directions))]
    assert found.shares[0, :directions] == pytest.approx(np.full(directions, 1 / directions))


def test_every_state_agrees_with_the_definition_by_eigenvalues():
    paths = np.random.default_rng(0).normal(size=(60, 4, 3)) * np.array([3, 2, 1]) * np.arange(1, 5)[:, None]
    found = participation(paths, variance=0.8)
    for k in range(4):
        values = np.linalg.eigvalsh(np.cov(paths[:, k].T))[::-1]
        assert found.ratio[k] == pytest.approx(values.sum() ** 2 / (values**2).sum())
        shares = np.cumsum(values) / values.sum()
        assert found.pca_dimension[k] == np.argmax(shares >= 0.8) + 1
    assert not found.warnings


def test_the_number_of_samples_limits_the_ratio_but_not_the_corrected_one():
    # Isotropic, 50 directions, 40 samples: the plain ratio is about 1/(1/50 + 1/40).
    runs = [participation(np.random.default_rng(seed).normal(size=(40, 1, 50))) for seed in range(20)]
    assert np.mean([run.ratio for run in runs]) == pytest.approx(1 / (1 / 50 + 1 / 40), rel=0.05)
    assert np.mean([run.corrected for run in runs]) == pytest.approx(50, rel=0.06)
    assert "lower bound" in runs[0].warnings[0]


@pytest.mark.parametrize(
    ("samples", "states", "stated", "error"),
    [
        (10, 500, 53.1, 0.6),
        pytest.param(10, 2000, 53.1, 0.3, marks=pytest.mark.slow),
        pytest.param(24, 2000, 50.3, 0.1, marks=pytest.mark.slow),
    ],
)
def test_the_corrected_ratio_is_biased_as_stated(samples, states, stated, error):
    """`error` is the standard error of the mean over the states."""
    draws = np.random.default_rng(0).normal(size=(samples, states, 50))
    assert participation(draws).corrected.mean() == pytest.approx(stated, abs=4 * error)


def test_the_interval_covers_the_population():
    # Variances 9, 4, 1: 14²/98 = 2.
    runs = [participation(np.random.default_rng(s).normal(size=(200, 1, 3)) * [3, 2, 1]) for s in range(40)]
    covered = sum(run.intervals[0, 0] <= 2 <= run.intervals[0, 1] for run in runs)
    assert covered >= 34


@pytest.mark.parametrize(
    ("samples", "variances"), [(24, 0.8 ** np.arange(50)), (100, 0.8 ** np.arange(50)), (24, np.ones(10))]
)
def test_corrected_intervals_cover_the_population_whatever_the_number_of_samples(samples, variances):
    rng, truth = np.random.default_rng(0), variances.sum() ** 2 / (variances**2).sum()
    states = rng.normal(size=(samples, 200, len(variances))) * np.sqrt(variances)
    low, high = participation(states).corrected_intervals.T
    assert np.mean((low <= truth) & (truth <= high)) >= 0.915


def test_one_differing_sample_leaves_the_largest_possible_interval():
    paths = np.zeros((20, 1, 3))
    paths[0] = 1
    found = participation(paths)
    assert found.ratio[0] == pytest.approx(1)
    assert found.intervals[0].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (np.random.default_rng(0).normal(size=(4, 2, 3)), {}, "4 samples; allowed: at least 5"),
        (np.ones((6, 2, 3)), {}, "in state 0 all 6 samples are identical"),
        (axes(5, 5), {"variance": 0.0}, "variance is 0"),
        (np.full((6, 2, 3), np.nan), {}, "NaN or Inf"),
    ],
)
def test_invalid_arguments_are_refused(paths, options, message):
    with pytest.raises(UserError, match=message):
        participation(paths, **options)


@pytest.mark.parametrize("numbers", [1, 2, 7])
def test_intervals_contain_the_ratio_and_stay_within_its_bounds(numbers):
    for seed in range(30):
        draws = np.random.default_rng(seed)
        line = np.outer(draws.standard_normal(30), draws.standard_normal(numbers))[:, None]
        for paths, most in ((line, 1), (draws.standard_normal((8, 1, numbers)), min(7, numbers))):
            found = participation(paths)
            low, high = found.intervals[0]
            assert 1 <= low <= found.ratio[0] <= high <= min(len(paths) - 1, numbers)
            low, high = found.corrected_intervals[0]
            assert low <= found.corrected[0] <= high
            assert found.ratio[0] <= most + 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_samples_that_differ_by_rounding_only_are_refused(dtype):
    draws = np.random.default_rng(0)
    paths = np.full((20, 2, 5), 3.0) + draws.integers(-1, 2, (20, 2, 5)) * np.finfo(dtype).eps
    paths[:, 0] = 1e3 * draws.standard_normal((20, 5))  # a state that varies, and is larger
    with pytest.raises(UserError, match="in state 1 all 20 samples are identical up to rounding"):
        participation(paths.astype(dtype))
