"""Linear CKA: its formula, its invariances, and its debiased form for independent states."""

import numpy as np
import pytest
import torch

from denoscope.dynamics.trajectories.similarity import cka_matrix, linear_cka
from denoscope.foundation.errors import UserError


def states(samples, features, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, features))


def formula(x, y):
    """CKA from covariances of features rather than Gram matrices of samples."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def test_cka_agrees_with_the_formula():
    x = states(50, 7)
    y = np.tanh(x[:, :5]) + 0.3 * states(50, 5, 1)
    found = linear_cka(x, y)
    assert found.value == pytest.approx(formula(x, y), abs=1e-12)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_rotation_scale_and_shift_do_not_change_cka():
    x, y = states(40, 6), states(40, 6, 1) + states(40, 6)
    rotation = np.linalg.qr(states(6, 6, 2))[0]
    assert linear_cka(x, -3 * x @ rotation + 5).value == pytest.approx(1)
    moved = linear_cka(x @ rotation * 0.1 + 2, y)
    assert moved.value == pytest.approx(linear_cka(x, y).value)
    assert moved.debiased == pytest.approx(linear_cka(x, y).debiased)
    assert linear_cka(y, x).value == pytest.approx(linear_cka(x, y).value)


def test_a_stretch_of_white_states_has_its_closed_form():
    # Σ = I and y = A x: ‖A‖²/(‖I‖ ‖AᵀA‖), for A = diag(1, 2) 5/√34.
    x = states(1500, 2)
    found = linear_cka(x, x * [1, 2])
    assert found.value == pytest.approx(5 / np.sqrt(34), abs=0.02)
    assert found.debiased == pytest.approx(5 / np.sqrt(34), abs=0.02)


def test_the_interval_covers_the_closed_form():
    runs = [linear_cka(x, x * [1, 2]) for x in (states(100, 2, seed) for seed in range(40))]
    covered = sum(run.interval[0] <= 5 / np.sqrt(34) <= run.interval[1] for run in runs)
    assert covered >= 34


@pytest.mark.parametrize(
    ("samples", "features", "strength"),
    [(24, 10, 3.0), (24, 30, 1.0), pytest.param(100, 10, 3.0, marks=pytest.mark.slow)],
)
def test_debiased_intervals_cover_the_population(samples, features, strength):
    """Three common directions of variance `strength`², and `features` independent ones of variance 1 each."""
    truth = 3 * strength**4 / (3 * strength**4 + features)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        common = strength * rng.normal(size=(samples, 3))
        x, y = (np.hstack([common, rng.normal(size=(samples, features))]) for _ in range(2))
        low, high = linear_cka(x, y).debiased_interval
        covered += low <= truth <= high
    assert covered >= 183


def test_an_interval_contains_its_value_despite_rounding():
    for seed in range(50):
        x = states(20, 4, seed)
        found = linear_cka(x, 3 * x + 5)
        assert found.interval[0] <= found.value <= found.interval[1] <= 1


def test_few_samples_of_many_features_look_similar_unless_debiased():
    runs = [linear_cka(states(30, 500, seed), states(30, 500, 100 + seed)) for seed in range(20)]
    assert min(run.value for run in runs) > 0.8
    assert np.mean([run.debiased for run in runs]) == pytest.approx(0, abs=0.05)
    assert "debiased" in runs[0].warnings[0]


def test_the_matrix_holds_every_pair_and_takes_tensors():
    layers = [torch.randn(20, 2, 4, 4, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    found = cka_matrix(layers)
    for i, a in enumerate(layers):
        for j, b in enumerate(layers):
            pair = linear_cka(a, b)
            assert found.values[i, j] == pytest.approx(pair.value)
            assert found.debiased[i, j] == pytest.approx(pair.debiased)
    assert found.values.diagonal() == pytest.approx(np.ones(3))


def test_one_differing_sample_leaves_no_bound():
    x = np.zeros((20, 3))
    x[0] = 1
    found = linear_cka(x, x)
    assert found.value == pytest.approx(1) and found.interval == (0, 1)
    assert found.debiased_interval is None


def test_a_symmetric_design_gives_no_interval_of_width_zero():
    """Whichever sample of two orthogonal factors is left out, the correlation of the others is ±1/2."""
    x, y = np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    found = linear_cka(x, y)
    assert found.value == pytest.approx(0) and found.interval is None and found.debiased_interval is None
    assert any("whichever sample is left out" in line for line in found.warnings)
    same = linear_cka(x, 3 * x)
    assert same.value == pytest.approx(1) and same.interval == pytest.approx((1, 1))


@pytest.mark.parametrize("states", [{"a": [[1.0]] * 4}, "abcd"])
def test_a_mapping_of_states_is_refused(states):
    with pytest.raises(UserError, match=r"states is .*; allowed: a list of sets of states"):
        cka_matrix(states)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (states(3, 5), states(3, 5), "3 points; allowed: at least 4"),
        (states(10, 5), states(9, 5), r"\[10, 9\] samples"),
        (np.ones((10, 5)), states(10, 5), "all 10 rows of x are equal"),
        (np.full((10, 5), np.nan), states(10, 5), "x holds 50 NaN or Inf"),
    ],
)
def test_invalid_arguments_are_refused(x, y, message):
    with pytest.raises(UserError, match=message):
        linear_cka(x, y)


def test_no_sets_are_refused():
    with pytest.raises(UserError, match="at least one set"):
        cka_matrix([])


@pytest.mark.parametrize("turn", [lambda x: 3 * x + 5, lambda x: -x, lambda x: x[:, ::-1] * 1e-7])
def test_values_of_similar_states_stay_within_their_bounds_and_intervals(turn):
    """Rounding led to 1.0000000000000002, outside of the interval, in a quarter of all draws."""
    for seed in range(40):
        x = np.random.default_rng(seed).standard_normal((50, 5))
        found = linear_cka(x, turn(x))
        assert found.interval[0] <= found.value <= found.interval[1] <= 1
        assert found.debiased <= 1 and found.value == pytest.approx(1)
        assert cka_matrix([x, turn(x)]).values.max() <= 1
