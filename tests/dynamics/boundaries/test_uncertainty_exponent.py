"""Uncertainty exponents of boundaries of known dimension."""

import json
import math

import numpy as np
import pytest
from label_planes import newton_labels
from scipy import optimize

from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.dynamics.boundaries.uncertainty_exponent import (
    uncertainty_exponent,
    uncertainty_exponent_of,
)
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError

EPSILONS = np.logspace(-4, -1, 8)


def _half(points):
    return (points[:, 0] > 0).astype(int)


def _cantor(points):
    """The position of the first digit 1 in base 3: it labels the gaps of Cantor's set by their size."""
    x, label = points[:, 0] % 1, np.zeros(len(points), dtype=int)
    for digit in range(1, 20):
        label[(label == 0) & (np.floor(3 * x) == 1)] = digit
        x = (3 * x) % 1
    return label


def _uniform(number, seed=0, dimension=2):
    return np.random.default_rng(seed).uniform(-1, 1, (number, dimension))


def test_newtons_fractal_has_the_published_exponent():
    result = uncertainty_exponent(newton_labels, _uniform(20_000), EPSILONS)
    assert result.value == pytest.approx(0.555, abs=0.02)
    assert result.interval[0] < 0.555 < result.interval[1]
    assert result.boundary_dimension == 2 - result.value
    assert result.used.all() and result.warnings == ()


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_a_flat_boundary_has_exponent_1_in_any_dimension(dimension):
    result = uncertainty_exponent(_half, _uniform(30_000, dimension=dimension), np.logspace(-3, -0.5, 6))
    assert result.value == pytest.approx(1, abs=0.05)
    assert result.interval[0] <= 1 <= result.interval[1]


def test_fractions_at_a_flat_boundary_have_their_closed_form():
    result = uncertainty_exponent(_half, _uniform(40_000), [0.05, 0.1, 0.2])
    # A neighbour at ε in direction a is on the other side with probability ε|cos a|/2 in a square of side 2.
    expected = np.array([0.05, 0.1, 0.2]) / np.pi
    assert (result.fraction_intervals[:, 0] <= expected).all()
    assert (expected <= result.fraction_intervals[:, 1]).all()


def test_cantors_set_has_one_minus_its_dimension():
    points = np.random.default_rng(0).uniform(0, 1, (30_000, 1))
    result = uncertainty_exponent(_cantor, points, 3.0 ** -np.arange(2, 8))
    assert result.value == pytest.approx(1 - math.log(2) / math.log(3), abs=0.04)


def test_random_labels_have_exponent_0_with_a_warning():
    def scattered(points):
        # A hash of the coordinates: neighbouring points have unrelated labels.
        return (np.abs(np.sin(points @ [12.9898e6, 78.233e6]) * 43758.5453) % 1 > 0.5).astype(int)

    result = uncertainty_exponent(scattered, _uniform(20_000), EPSILONS)
    assert result.value == pytest.approx(0, abs=0.01)
    assert result.unrelated == pytest.approx(0.5, abs=0.01)
    assert "unrelated points" in result.warnings[0]


def test_epsilons_wider_than_the_basins_are_left_out():
    def stripes(points):
        return np.floor(points[:, 0] * 50).astype(int) % 2

    result = uncertainty_exponent(stripes, _uniform(20_000), np.logspace(-5, 0, 11))
    assert result.value == pytest.approx(1, abs=0.06)
    assert result.used.tolist() == [True] * 7 + [False] * 4 or result.used[:6].all()
    assert any("width of the basins" in line for line in result.warnings)


def test_epsilons_without_uncertain_pairs_contribute():
    result = uncertainty_exponent(_half, _uniform(2000), [1e-9, 0.01, 0.03, 0.1, 0.3])
    assert result.used.all() and not result.warnings and result.fractions[0] == 0
    assert result.value == pytest.approx(
        uncertainty_exponent(_half, _uniform(2000), [1e-8, 0.01, 0.03, 0.1, 0.3]).value, abs=0.1
    )
    assert math.isnan(result.residuals[0]) and math.isnan(result.local_slopes[0])


def test_a_missing_exponent_gives_warnings():
    result = uncertainty_exponent(_half, _uniform(200), [1e-9, 1e-8, 1e-7])
    assert math.isnan(result.value) and result.interval is None
    assert "no pairs differ" in result.warnings[0]
    assert "0 of them are above 0" in result.warnings[-1]
    assert json.loads(result.to_json())["value"] is None


@pytest.mark.slow
def test_intervals_have_the_nominal_coverage():
    covered = 0
    for seed in range(200):
        result = uncertainty_exponent(_half, _uniform(1500, seed), [0.01, 0.03, 0.1, 0.3], seed=seed)
        covered += result.interval[0] <= 1 <= result.interval[1]
    assert 0.91 <= covered / 200 <= 0.99


def test_a_seed_reproduces_the_result():
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
        (_half, np.zeros(5), EPSILONS, "points are float64 of shape [5]"),
        (_half, np.array([[0.0, np.nan], [1, 1]]), EPSILONS, "1 of 2 points are not finite"),
        (_half, _uniform(9), [0.1, 0.2], "at least 3 different distances"),
        (_half, _uniform(9), [0.1, 0.2, 0.0], "allowed: finite numbers above 0"),
        (_half, _uniform(9), [0.1, 0.2, np.inf], "allowed: finite numbers above 0"),
        (
            lambda points: points,
            _uniform(9),
            EPSILONS,
            "label_of returned float64 of shape [9, 2] for points [9, 2]",
        ),
        (lambda points: _half(points)[1:], _uniform(9), EPSILONS, "label_of returned int64 of shape [8]"),
    ],
)
def test_invalid_input_is_refused_in_one_line(label_of, points, epsilons, line):
    with pytest.raises(UserError) as refused:
        uncertainty_exponent(label_of, points, epsilons)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_labels_in_batches_and_after_an_interrupt_give_the_same_result(tmp_path):
    points, batches = _uniform(500), []

    def stopping(points):
        batches.append(len(points))
        if len(batches) == 9:
            raise KeyboardInterrupt
        return newton_labels(points)

    whole = uncertainty_exponent(newton_labels, points, EPSILONS)
    options, out = {"batch_size": 100}, tmp_path / "labels.npz"
    with pytest.raises(KeyboardInterrupt):
        uncertainty_exponent(stopping, points, EPSILONS, **options, checkpoint=out)
    assert batches == [16, 84] + [100] * 7
    reports = []
    again = uncertainty_exponent(
        newton_labels,
        points,
        EPSILONS,
        **options,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *done: reports.append(done)),
    )
    assert again.to_json() == whole.to_json()
    assert reports[-1] == (9 * 500, 9 * 500) and reports[0][0] == 800
    # Another function, and other points.
    for label_of, others in ((_half, points), (newton_labels, _uniform(500, seed=1))):
        with pytest.raises(UserError, match="cannot be resumed"):
            uncertainty_exponent(
                label_of, others, EPSILONS, **options, checkpoint=Checkpoint(out, resume=True)
            )


@pytest.mark.parametrize("size", [0, -5, 2.5, "a"])
def test_an_invalid_batch_size_is_refused(size):
    with pytest.raises(UserError, match=r"batch_size is .*; allowed: an integer of at least 1"):
        uncertainty_exponent(
            lambda p: (p[:, 0] > 0).astype(int), np.zeros((9, 2)), [0.1, 1, 2], batch_size=size
        )


@pytest.mark.slow
def test_few_uncertain_pairs_do_not_bias_the_exponent():
    found = []
    for seed in range(120):
        points = np.random.default_rng(seed).uniform(-1, 1, (400, 2))
        found.append(uncertainty_exponent(_half, points, np.geomspace(0.001, 0.1, 5), seed=seed))
    assert np.nanmedian([one.value for one in found]) == pytest.approx(1, abs=0.06)
    missed = np.mean([not one.interval[0] <= 1 <= one.interval[1] for one in found if one.interval])
    assert missed < 0.12


def test_the_fit_maximises_the_likelihood():
    epsilons = np.array([0.003, 0.02, 0.1, 0.4])
    found = uncertainty_exponent(_half, _uniform(300, seed=3), epsilons)
    hits, x = (found.fractions * 300).round(), np.log(epsilons)

    def loss(line):
        f = np.exp(np.minimum(line[0] * x + line[1], -1e-9))
        return -(hits * np.log(f) + (300 - hits) * np.log1p(-f)).sum()

    best = optimize.minimize(loss, [0.9, -1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    assert found.value == pytest.approx(best.x[0], abs=1e-3)


def test_known_labels_give_the_exponent_of_their_function():
    points, epsilons, labels = _uniform(500), [0.01, 0.05, 0.2], []

    def label_of(batch):
        labels.append(_half(batch))
        return labels[-1]

    whole = uncertainty_exponent(label_of, points, epsilons, seed=4)
    # The first call labels 16 points, which identify the function; the second the other points.
    assert [len(batch) for batch in labels] == [16, 484, 500, 500, 500]
    own, neighbours = np.concatenate(labels[:2]), labels[2:]
    found = uncertainty_exponent_of(own, np.array(neighbours), epsilons, dimension=2, seed=4)
    assert found.to_json() == whole.to_json()


@pytest.mark.parametrize(
    ("labels", "neighbours", "epsilons", "line"),
    [
        ([0, 1, 1], np.zeros((2, 3), int), [0.1, 0.2, 0.3], "3 epsilons"),
        ([0.5, 1, 1], np.zeros((3, 3), int), [0.1, 0.2, 0.3], "labels are float64"),
        ([0, 1, 1], np.zeros((3, 3), int), [0.3, 0.2, 0.1], "epsilons is [0.3, 0.2, 0.1]"),
    ],
)
def test_known_labels_that_do_not_fit_are_refused(labels, neighbours, epsilons, line):
    with pytest.raises(UserError) as refused:
        uncertainty_exponent_of(labels, neighbours, epsilons, dimension=2)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_described_function_adds_its_origin_and_bounds_the_epsilons():
    where = PointLabels(_half, origin={"model": "half"}, resolution=0.01)
    assert uncertainty_exponent(where, _uniform(50), [0.01, 0.1, 1]).origin["model"] == "half"
    with pytest.raises(UserError, match=r"epsilons.* 0\.001; allowed: at least 1\.0e-02"):
        uncertainty_exponent(where, _uniform(50), [0.001, 0.1, 1])
    assert repr(where) == "<PointLabels model='half', resolution=0.01>"
    assert "half" in where._repr_html_() and "0.01" in where._repr_html_()


def test_labels_beyond_the_dtype_of_the_first_are_preserved():
    def label_of(points):
        labels = np.floor(np.abs(points[:, 0]) * 1000).astype(int)
        return labels.astype(np.min_scalar_type(labels.max()))

    points = np.linspace(0, 0.9, 300)[:, None]
    found = uncertainty_exponent(label_of, points, [1e-4, 1e-3, 1e-2])
    wide = uncertainty_exponent(lambda p: label_of(p).astype(int), points, [1e-4, 1e-3, 1e-2])
    assert found.unrelated == wide.unrelated and found.fractions.tolist() == wide.fractions.tolist()


@pytest.mark.parametrize("base", [3, 5])
def test_fractions_that_bend_widen_the_interval_and_give_a_warning(base):
    """ε up to the width of the widest gaps of Cantor's set: the slope there is too small by many standard errors."""

    def gaps(points):
        x, label = points[:, 0] % 1, np.zeros(len(points), dtype=int)
        for digit in range(1, 14):
            label[(label == 0) & (x > 1 / base) & (x < 1 - 1 / base)] = digit
            x = np.where(x >= 1 - 1 / base, base * x - (base - 1), base * x)
        return label

    points, truth = np.random.default_rng(0).uniform(0, 1, (20_000, 1)), 1 - math.log(2) / math.log(base)
    result = uncertainty_exponent(gaps, points, 0.2 * 2.5 ** -np.arange(8.0))
    assert result.interval[0] <= truth <= result.interval[1]
    assert any("not a power law" in line for line in result.warnings)


def test_fractions_of_a_straight_boundary_do_not_bend():
    warned = 0
    for seed in range(30):
        points = np.random.default_rng(seed).uniform(-1, 1, (1000, 2))
        result = uncertainty_exponent(_half, points, [0.01, 0.03, 0.1, 0.3], seed=seed)
        warned += any("not a power law" in line for line in result.warnings)
    assert warned <= 2
