"""Basin entropy against published values, closed forms, and counts by hand."""

import json
import math

import numpy as np
import pytest
from label_planes import half_plane, newton
from scipy import integrate, ndimage

from denoscope.dynamics.boundaries.basin_entropy import basin_entropy, basin_fractions
from denoscope.foundation.errors import UserError


@pytest.mark.parametrize(("box", "entropy", "boundary"), [(5, 0.108312, 0.691350), (10, 0.162880, 0.672438)])
def test_newton_has_the_published_entropies(box, entropy, boundary):
    result = basin_entropy(newton(), box=box)
    assert result.entropy == pytest.approx(entropy, abs=5e-7)
    assert result.boundary_entropy == pytest.approx(boundary, abs=5e-7)
    assert result.boundary_interval[0] <= result.boundary_entropy <= result.boundary_interval[1]


def test_several_boxes_give_the_values_of_each():
    both = basin_entropy(newton(), box=(5, 10))
    np.testing.assert_allclose(both.entropy, [0.108312, 0.162880], atol=5e-7)
    np.testing.assert_allclose(both.boundary_entropy, [0.691350, 0.672438], atol=5e-7)
    assert both.entropy_interval.shape == (2, 2)
    assert both.above_ln2.tolist() == [False, False]
    assert json.loads(both.to_json())["box"] == [5, 10]


def _straight_limit() -> float:
    """The mean entropy of a square that a random line cuts, from the area it cuts off."""

    def cut_off(angle, distance):
        c, s = np.cos(angle), np.sin(angle)
        corners = [distance, distance - c, distance - s, distance - c - s]
        return sum(sign * max(q, 0) ** 2 for sign, q in zip((1, -1, -1, 1), corners, strict=True)) / (
            2 * c * s
        )

    def entropy(distance, angle):
        area = min(max(cut_off(angle, distance), 1e-300), 1 - 1e-16)
        return -area * math.log(area) - (1 - area) * math.log(1 - area)

    total, _ = integrate.dblquad(entropy, 0, np.pi / 2, 0, lambda a: np.cos(a) + np.sin(a), epsabs=1e-6)
    return total / 2


def test_straight_boundaries_of_all_directions_tend_to_the_closed_form():
    limit = _straight_limit()
    assert limit == pytest.approx(0.400147, abs=1e-5)
    generator = np.random.default_rng(0)
    total = np.zeros((2, 2))
    for _ in range(60):
        plane = half_plane(480, generator.uniform(0, 2 * np.pi), generator.uniform(-0.5, 0.5))
        result = basin_entropy(plane, box=(24, 48), offsets=2)
        total += [result.boundary_boxes, result.boundary_entropy * result.boundary_boxes]
    coarse, fine = total[1] / total[0]
    # Lines that cut a corner off between the cells are not seen: an excess that halves with the cell.
    assert fine == pytest.approx(limit, abs=0.01)
    assert 2 * fine - coarse == pytest.approx(limit, abs=0.005)


def test_checkerboard_and_stripes_by_hand():
    board = np.indices((12, 12)).sum(axis=0) % 2
    result = basin_entropy(board, box=2)
    assert (result.entropy, result.boundary_entropy) == pytest.approx((math.log(2), math.log(2)))
    stripes = np.tile([0, 0, 0, 1], (8, 2))
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    result = basin_entropy(stripes, box=4)
    assert (result.entropy, result.boundary_boxes) == pytest.approx((quarter, 4))


def test_offsets_see_a_boundary_that_lies_between_boxes():
    plane = np.repeat([0, 1], 10)[None].repeat(20, axis=0)
    hidden = basin_entropy(plane, box=10)
    assert hidden.entropy == 0 and math.isnan(hidden.boundary_entropy)
    assert "take larger boxes, or the mean over more tilings" in hidden.warnings[0]
    seen = basin_entropy(plane, box=10, offsets=2)
    assert seen.boundary_entropy == pytest.approx(math.log(2))
    # Tilings from columns 0 and 5 have 4 or 2, and 2 or 1 boxes; only those from column 5 are mixed.
    assert seen.entropy == pytest.approx(3 * math.log(2) / 9)
    assert seen.boundary_boxes == pytest.approx(3 / 4)


def test_a_grid_that_the_box_does_not_divide_leaves_its_far_edges_out():
    plane = np.zeros((23, 31), dtype=int)
    plane[:20, :30] = np.indices((20, 30)).sum(axis=0) % 2
    assert basin_entropy(plane, box=10).entropy == pytest.approx(math.log(2))
    assert basin_entropy(plane, box=20).origin["grid"] == [23, 31]


def test_label_noise_exceeds_ln_2_and_is_flagged():
    noise = np.random.default_rng(0).integers(0, 3, (120, 120))
    result = basin_entropy(noise, box=10)
    # Entropy of a sample of n from k equal classes falls short of ln k by (k − 1)/2n (Miller, 1955).
    assert result.boundary_entropy == pytest.approx(math.log(3) - 1 / 100, abs=2e-3)
    assert result.above_ln2 and "noise" in result.warnings[0]


def test_the_reject_class_is_a_class():
    board = np.indices((12, 12)).sum(axis=0) % 2
    assert basin_entropy(board - 1, box=2).entropy == pytest.approx(math.log(2))


def test_few_boundary_boxes_are_flagged():
    assert "only 10 boxes" in basin_entropy(half_plane(100, 0.0), box=10).warnings[0]


@pytest.mark.parametrize(
    ("labels", "box", "line"),
    [
        (np.zeros((9, 9)), 3, "labels are float64 of shape (9, 9); allowed: whole numbers [ny, nx]"),
        (np.zeros(9, dtype=int), 3, "of shape (9,)"),
        (np.full((9, 9), 7), 3, "labels hold 1 classes (7)"),
        (np.eye(9, dtype=int), 10, "boxes run from 10 to 10 cells; allowed: 2 to 9"),
        (np.eye(9, dtype=int), 1, "boxes run from 1"),
        (np.eye(9, dtype=int), (), "boxes are ()"),
        (np.eye(9, dtype=int), 2.5, "boxes are [2.5]"),
        (np.eye(9, dtype=int) - 5, 3, "labels run from -5"),
        (np.zeros((0, 0), dtype=int), 3, "labels hold 0 classes"),
    ],
)
def test_wrong_input_is_refused_in_a_line(labels, box, line):
    with pytest.raises(UserError) as refused:
        basin_entropy(labels, box=box)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_wrong_offsets_are_refused():
    with pytest.raises(UserError, match="offsets is 0"):
        basin_entropy(newton(30), offsets=0)


def test_fractions_of_independent_draws_have_wilson_intervals():
    labels = np.repeat([0, 1, 4], [5, 0, 15])
    result = basin_fractions(labels)
    assert result.classes == (0, 4)
    np.testing.assert_allclose(result.fractions, [0.25, 0.75])
    # The roots of |5/20 − p| = 1.96 √(p(1−p)/20), solved by hand.
    np.testing.assert_allclose(result.intervals[0], [0.1119, 0.4687], atol=5e-5)


def test_fraction_intervals_of_draws_hold_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        result = basin_fractions(generator.choice(3, 80, p=[0.2, 0.3, 0.5]))
        held += result.intervals[0, 0] <= 0.2 <= result.intervals[0, 1]
    assert 0.92 <= held / 400 <= 0.98


def test_fraction_intervals_of_a_plane_count_blobs_and_not_cells():
    generator = np.random.default_rng(4)
    held, naive = 0, 0
    for _ in range(200):
        labels = np.kron(generator.random((60, 60)) < 0.3, np.ones((4, 4), dtype=int)).astype(int)
        result = basin_fractions(labels)
        held += result.intervals[1, 0] <= 0.3 <= result.intervals[1, 1]
        naive += abs(result.fractions[1] - 0.3) < 1.96 * math.sqrt(0.21 / labels.size)
    assert held / 200 >= 0.92
    assert naive / 200 < 0.5


def test_fractions_of_one_class_and_of_wide_basins_are_flagged():
    assert "all cells have label 3" in basin_fractions(np.full((20, 20), 3)).warnings[0]
    assert "too narrow" in basin_fractions(half_plane(100, 0.3)).warnings[0]


@pytest.mark.parametrize(
    ("labels", "options", "line"),
    [
        ([], {}, "labels are empty"),
        ([0.5, 1.5], {}, "labels are float64"),
        ([0, 1], {"confidence": 2}, "confidence is 2"),
    ],
)
def test_wrong_fractions_are_refused(labels, options, line):
    with pytest.raises(UserError, match=line):
        basin_fractions(labels, **options)


@pytest.mark.parametrize(("size", "width"), [(14, 1), (26, 1), (40, 1), (100, 3)])
def test_fraction_intervals_of_small_basins_hold_the_share(size, width):
    """Fields of noise that is smoothed over some cells, cut at their mean: half of them on the whole."""
    draws, held = np.random.default_rng(0), 0
    for _ in range(100):
        field = ndimage.gaussian_filter(draws.standard_normal((size + 40,) * 2), width)[20:-20, 20:-20]
        low, high = basin_fractions((field > 0).astype(int)).intervals[1]
        held += low <= 0.5 <= high
    assert held >= 88


def test_basins_that_few_blocks_tell_of_are_flagged_on_small_planes_too():
    half = (np.arange(14)[:, None] * np.ones(14) < 7).astype(int)
    assert "as wide as the blocks compared" in basin_fractions(half).warnings[0]
