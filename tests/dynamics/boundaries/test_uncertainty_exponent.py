"""Uncertainty exponents against boundaries of known dimension."""

import json
import math

import numpy as np
import pytest
from label_planes import newton_labels

from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError

EPSILONS = np.logspace(-4, -1, 8)


def _half(points):
    return (points[:, 0] > 0).astype(int)


def _cantor(points):
    """The first digit to base 3 that is a 1: the gaps of Cantor's set, labelled by their size."""
    x, label = points[:, 0] % 1, np.zeros(len(points), dtype=int)
    for digit in range(1, 20):
        label[(label == 0) & (np.floor(3 * x) == 1)] = digit
        x = (3 * x) % 1
    return label


def _uniform(number, seed=0, dimension=2):
    return np.random.default_rng(seed).uniform(-1, 1, (number, dimension))


def test_newton_has_the_published_exponent():
    result = uncertainty_exponent(newton_labels, _uniform(40_000), EPSILONS)
    assert result.value == pytest.approx(0.555, abs=0.02)
    assert result.interval[0] < 0.555 < result.interval[1]
    assert result.boundary_dimension == 2 - result.value
    assert result.used.all() and result.warnings == ()


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_a_flat_boundary_has_exponent_1_in_any_dimension(dimension):
    result = uncertainty_exponent(_half, _uniform(60_000, dimension=dimension), np.logspace(-3, -0.5, 6))
    assert result.value == pytest.approx(1, abs=0.05)
    assert result.interval[0] <= 1 <= result.interval[1]


def test_fractions_at_a_flat_boundary_are_those_of_the_closed_form():
    result = uncertainty_exponent(_half, _uniform(100_000), [0.05, 0.1, 0.2])
    # A neighbour at ε in direction a lies across with probability ε|cos a|/2 in a square of side 2; mean 2/π.
    expected = np.array([0.05, 0.1, 0.2]) / np.pi
    assert (result.fraction_intervals[:, 0] <= expected).all()
    assert (expected <= result.fraction_intervals[:, 1]).all()


def test_cantors_set_has_one_minus_its_dimension():
    points = np.random.default_rng(0).uniform(0, 1, (60_000, 1))
    result = uncertainty_exponent(_cantor, points, 3.0 ** -np.arange(2, 8))
    assert result.value == pytest.approx(1 - math.log(2) / math.log(3), abs=0.04)


def test_random_labels_have_exponent_0_and_are_flagged():
    def scattered(points):
        # A label for every number, without order: the fraction of a wild sine.
        return (np.abs(np.sin(points @ [12.9898e6, 78.233e6]) * 43758.5453) % 1 > 0.5).astype(int)

    result = uncertainty_exponent(scattered, _uniform(20_000), EPSILONS)
    assert result.value == pytest.approx(0, abs=0.01)
    assert result.unrelated == pytest.approx(0.5, abs=0.01)
    assert "as unrelated points do at every epsilon" in result.warnings[0]


def test_epsilons_beyond_the_basins_are_left_out():
    def stripes(points):
        return np.floor(points[:, 0] * 50).astype(int) % 2

    result = uncertainty_exponent(stripes, _uniform(20_000), np.logspace(-5, 0, 11))
    assert result.value == pytest.approx(1, abs=0.06)
    assert result.used.tolist() == [True] * 7 + [False] * 4 or result.used[:6].all()
    assert any("exceed the basins' width" in line for line in result.warnings)


def test_epsilons_without_any_uncertain_pair_are_data_too():
    result = uncertainty_exponent(_half, _uniform(2000), [1e-9, 0.01, 0.03, 0.1, 0.3])
    assert result.used.all() and not result.warnings and result.fractions[0] == 0
    assert result.value == pytest.approx(
        uncertainty_exponent(_half, _uniform(2000), [1e-8, 0.01, 0.03, 0.1, 0.3]).value, abs=0.1
    )
    assert math.isnan(result.residuals[0]) and math.isnan(result.local_slopes[0])


def test_no_exponent_is_flagged_and_never_silent():
    result = uncertainty_exponent(_half, _uniform(200), [1e-9, 1e-8, 1e-7])
    assert math.isnan(result.value) and result.interval is None
    assert "no pairs differ at any epsilon" in result.warnings[0]
    assert "0 of them above 0, where a fit takes 3 and 2: no exponent" in result.warnings[-1]
    assert json.loads(result.to_json())["value"] is None


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(200):
        result = uncertainty_exponent(_half, _uniform(1500, seed), [0.01, 0.03, 0.1, 0.3], seed=seed)
        held += result.interval[0] <= 1 <= result.interval[1]
    assert 0.91 <= held / 200 <= 0.99


def test_a_seed_repeats_the_draw():
    first, again, other = (uncertainty_exponent(_half, _uniform(500), EPSILONS, seed=s) for s in (1, 1, 2))
    assert first.to_json() == again.to_json() != other.to_json()


def test_wilson_meets_published_intervals():
    # Newcombe, Statistics in Medicine 17, 857 (1998), table I, method 3.
    np.testing.assert_allclose(wilson(81, 263), [0.2553, 0.3662], atol=5e-5)
    np.testing.assert_allclose(wilson(15, 148), [0.0624, 0.1605], atol=5e-5)
    np.testing.assert_allclose(wilson(0, 20), [0.0, 0.1611], atol=5e-5)
    np.testing.assert_allclose(wilson(1, 29), [0.0061, 0.1718], atol=5e-5)


@pytest.mark.parametrize(
    ("label_of", "points", "epsilons", "line"),
    [
        (_half, np.zeros(5), EPSILONS, "points are float64 of shape (5,)"),
        (_half, np.array([[0.0, np.nan], [1, 1]]), EPSILONS, "1 of 2 points are not finite"),
        (_half, _uniform(9), [0.1, 0.2], "at least 3 different distances"),
        (_half, _uniform(9), [0.1, 0.2, 0.0], "allowed: finite numbers above 0"),
        (_half, _uniform(9), [0.1, 0.2, np.inf], "allowed: finite numbers above 0"),
        (
            lambda points: points,
            _uniform(9),
            EPSILONS,
            "label_of gave float64 of shape (9, 2) for points (9, 2)",
        ),
        (lambda points: _half(points)[1:], _uniform(9), EPSILONS, "label_of gave int64 of shape (8,)"),
    ],
)
def test_wrong_input_is_refused_in_a_line(label_of, points, epsilons, line):
    with pytest.raises(UserError) as refused:
        uncertainty_exponent(label_of, points, epsilons)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_labels_asked_in_parts_and_after_a_stop_give_the_same_result(tmp_path):
    points, asked = _uniform(500), []

    def stopping(points):
        asked.append(len(points))
        if len(asked) == 9:
            raise KeyboardInterrupt
        return newton_labels(points)

    whole = uncertainty_exponent(newton_labels, points, EPSILONS)
    options, out = {"batch_size": 100}, tmp_path / "labels.npz"
    with pytest.raises(KeyboardInterrupt):
        uncertainty_exponent(stopping, points, EPSILONS, **options, checkpoint=out)
    assert asked == [16, 84] + [100] * 7
    told = []
    again = uncertainty_exponent(
        newton_labels,
        points,
        EPSILONS,
        **options,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *done: told.append(done)),
    )
    assert again.to_json() == whole.to_json()
    assert told[-1] == (9 * 500, 9 * 500) and told[6][0] == 700
    # Of another function of points, and of other points.
    for label_of, others in ((_half, points), (newton_labels, _uniform(500, seed=1))):
        with pytest.raises(UserError, match="cannot be resumed"):
            uncertainty_exponent(
                label_of, others, EPSILONS, **options, checkpoint=Checkpoint(out, resume=True)
            )


@pytest.mark.parametrize("size", [0, -5, 2.5, "a"])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match=r"batch_size is .*; allowed: an integer of at least 1"):
        uncertainty_exponent(
            lambda p: (p[:, 0] > 0).astype(int), np.zeros((9, 2)), [0.1, 1, 2], batch_size=size
        )


def test_few_hits_do_not_bend_the_exponent_of_a_straight_boundary():
    def half(points):
        return (points[:, 0] > 0).astype(int)

    found = []
    for seed in range(120):
        points = np.random.default_rng(seed).uniform(-1, 1, (400, 2))
        found.append(uncertainty_exponent(half, points, np.geomspace(0.001, 0.1, 5), seed=seed))
    assert np.nanmedian([one.value for one in found]) == pytest.approx(1, abs=0.06)
    missed = np.mean([not one.interval[0] <= 1 <= one.interval[1] for one in found if one.interval])
    assert missed < 0.12


def test_the_fit_is_the_most_likely_one():
    def half(points):
        return (points[:, 0] > 0).astype(int)

    points, epsilons = np.random.default_rng(3).uniform(-1, 1, (300, 2)), np.array([0.003, 0.02, 0.1, 0.4])
    found = uncertainty_exponent(half, points, epsilons)
    hits, x = (found.fractions * 300).round(), np.log(epsilons)

    def likelihood(slope, intercept):
        f = np.exp(slope * x + intercept)
        return (hits * np.log(f) + (300 - hits) * np.log1p(-f)).sum()

    intercepts = np.linspace(-3, -0.2, 1500)
    best = max(
        (likelihood(slope, intercept), slope) for slope in np.linspace(0.7, 1.4, 701) for intercept in intercepts
        if np.exp(slope * x[-1] + intercept) < 1
    )  # fmt: skip
    assert found.value == pytest.approx(best[1], abs=3e-3)


def test_labels_that_outgrow_the_dtype_of_the_first_are_kept_whole():
    def label_of(points):
        labels = np.floor(np.abs(points[:, 0]) * 1000).astype(int)
        return labels.astype(np.min_scalar_type(labels.max()))

    points = np.linspace(0, 0.9, 300)[:, None]
    found = uncertainty_exponent(label_of, points, [1e-4, 1e-3, 1e-2])
    wide = uncertainty_exponent(lambda p: label_of(p).astype(int), points, [1e-4, 1e-3, 1e-2])
    assert found.unrelated == wide.unrelated and found.fractions.tolist() == wide.fractions.tolist()
