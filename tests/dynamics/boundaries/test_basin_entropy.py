"""Basin entropy against published values, closed forms and hand counts."""

import json
import math

import numpy as np
import pytest
from label_planes import half_plane, newton
from scipy import integrate

from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.foundation.errors import UserError


@pytest.mark.parametrize(("box", "entropy", "boundary"), [(5, 0.108312, 0.691350), (10, 0.162880, 0.672438)])
def test_newtons_fractal_has_the_published_entropies(box, entropy, boundary):
    result = basin_entropy(newton(), box=box)
    assert result.entropy == pytest.approx(entropy, abs=5e-7)
    assert result.boundary_entropy == pytest.approx(boundary, abs=5e-7)
    assert result.boundary_interval[0] <= result.boundary_entropy <= result.boundary_interval[1]


def test_several_boxes_give_the_values_of_single_boxes():
    both = basin_entropy(newton(), box=(5, 10))
    np.testing.assert_allclose(both.entropy, [0.108312, 0.162880], atol=5e-7)
    np.testing.assert_allclose(both.boundary_entropy, [0.691350, 0.672438], atol=5e-7)
    assert both.entropy_interval.shape == (2, 2)
    assert both.above_ln2.tolist() == [False, False]
    assert json.loads(both.to_json())["box"] == [5, 10]


def _straight_limit() -> float:
    """The mean entropy of a square that a random line cuts, from the area that the line cuts off."""

    def area_cut_off(angle, distance):
        c, s = np.cos(angle), np.sin(angle)
        corners = [distance, distance - c, distance - s, distance - c - s]
        return sum(sign * max(q, 0) ** 2 for sign, q in zip((1, -1, -1, 1), corners, strict=True)) / (
            2 * c * s
        )

    def entropy(distance, angle):
        area = min(max(area_cut_off(angle, distance), 1e-300), 1 - 1e-16)
        return -area * math.log(area) - (1 - area) * math.log(1 - area)

    total, _ = integrate.dblquad(entropy, 0, np.pi / 2, 0, lambda a: np.cos(a) + np.sin(a), epsabs=1e-6)
    return total / 2


@pytest.mark.slow
def test_straight_boundaries_approach_the_closed_form():
    limit = _straight_limit()
    assert limit == pytest.approx(0.400147, abs=1e-5)
    generator = np.random.default_rng(0)
    total = np.zeros((2, 2))
    for _ in range(60):
        plane = half_plane(480, generator.uniform(0, 2 * np.pi), generator.uniform(-0.5, 0.5))
        result = basin_entropy(plane, box=(24, 48), offsets=2)
        total += [result.boundary_boxes, result.boundary_entropy * result.boundary_boxes]
    coarse, fine = total[1] / total[0]
    # Corners that the line cuts off between cells are not counted: the excess is proportional to the cell width.
    assert fine == pytest.approx(limit, abs=0.01)
    assert 2 * fine - coarse == pytest.approx(limit, abs=0.005)


def test_small_boxes_on_straight_boundaries_have_the_stated_entropies():
    generator, total = np.random.default_rng(0), np.zeros((2, 5))
    for _ in range(15):
        plane = half_plane(160, generator.uniform(0, 2 * np.pi), generator.uniform(-0.5, 0.5))
        result = basin_entropy(plane, box=(2, 3, 5, 10, 20), offsets=2)
        total += [result.boundary_boxes, result.boundary_entropy * result.boundary_boxes]
    np.testing.assert_allclose(total[1] / total[0], [0.61, 0.54, 0.48, 0.44, 0.42], atol=0.01)


def test_checkerboard_and_stripes_have_the_entropies_computed_by_hand():
    board = np.indices((12, 12)).sum(axis=0) % 2
    result = basin_entropy(board, box=2)
    assert (result.entropy, result.boundary_entropy) == pytest.approx((math.log(2), math.log(2)))
    stripes = np.tile([0, 0, 0, 1], (8, 2))
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    result = basin_entropy(stripes, box=4)
    assert (result.entropy, result.boundary_boxes) == pytest.approx((quarter, 4))


def test_offsets_detect_a_boundary_between_boxes():
    plane = np.repeat([0, 1], 10)[None].repeat(20, axis=0)
    hidden = basin_entropy(plane, box=10)
    assert hidden.entropy == 0 and math.isnan(hidden.boundary_entropy)
    assert "no box of 10 cells" in hidden.warnings[0] and "offsets" in hidden.warnings[0]
    seen = basin_entropy(plane, box=10, offsets=2)
    assert seen.boundary_entropy == pytest.approx(math.log(2))
    # Of the four tilings only the two that start at column 5 have mixed boxes, 3 of all 9 boxes.
    assert seen.entropy == pytest.approx(3 * math.log(2) / 9)
    assert seen.boundary_boxes == pytest.approx(3 / 4)


def test_cells_that_fill_no_box_at_the_far_edges_are_not_used():
    plane = np.zeros((23, 31), dtype=int)
    plane[:20, :30] = np.indices((20, 30)).sum(axis=0) % 2
    assert basin_entropy(plane, box=10).entropy == pytest.approx(math.log(2))
    assert basin_entropy(plane, box=20).origin["grid"] == [23, 31]


def test_label_noise_exceeds_ln_2_with_a_warning():
    noise = np.random.default_rng(0).integers(0, 3, (120, 120))
    result = basin_entropy(noise, box=10)
    # The entropy of a sample of n from k equal classes is (k − 1)/2n below ln k (Miller, 1955).
    assert result.boundary_entropy == pytest.approx(math.log(3) - 1 / 100, abs=2e-3)
    assert result.above_ln2 and "noise" in result.warnings[0]


def test_the_reject_class_counts_as_a_class():
    board = np.indices((12, 12)).sum(axis=0) % 2
    assert basin_entropy(board - 1, box=2).entropy == pytest.approx(math.log(2))


def test_few_boundary_boxes_give_a_warning():
    assert "only 10 boxes" in basin_entropy(half_plane(100, 0.0), box=10).warnings[0]


@pytest.mark.parametrize(
    ("labels", "box", "line"),
    [
        (np.zeros((9, 9)), 3, "labels are float64 of shape [9, 9]; allowed: integers [ny, nx]"),
        (np.zeros(9, dtype=int), 3, "of shape [9]"),
        (np.full((9, 9), 7), 3, "labels hold 1 classes (7)"),
        (np.eye(9, dtype=int), 10, "boxes range from 10 to 10 cells; allowed: 2 to 9"),
        (np.arange(100)[None] % 2, 10, "the plane has 1×100 cells; allowed: at least 2 along each axis"),
        (np.eye(9, dtype=int), 1, "boxes range from 1"),
        (np.eye(9, dtype=int), (), "boxes is ()"),
        (np.eye(9, dtype=int), 2.5, "boxes is [2.5]"),
        (np.eye(9, dtype=int) - 5, 3, "labels range from -5"),
        (np.zeros((0, 0), dtype=int), 3, "labels hold 0 classes"),
    ],
)
def test_invalid_input_is_refused_in_one_line(labels, box, line):
    with pytest.raises(UserError) as refused:
        basin_entropy(labels, box=box)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_invalid_offsets_are_refused():
    with pytest.raises(UserError, match="offsets is 0"):
        basin_entropy(newton(30), offsets=0)


@pytest.mark.parametrize("side", [50, 100, 101, 200])
def test_two_classes_are_never_above_ln_2(side):
    labels = np.add.outer(np.arange(side), np.arange(side)) % 2
    assert not basin_entropy(labels, box=[2, 4, 6]).above_ln2.any()
    assert not basin_entropy(labels, box=4, offsets=4).above_ln2


def test_three_classes_can_be_above_ln_2():
    labels = np.add.outer(np.arange(60), 2 * np.arange(60)) % 3
    found = basin_entropy(labels, box=[3, 6])
    assert found.above_ln2.all() and found.boundary_entropy == pytest.approx(np.log(3))
