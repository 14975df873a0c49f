"""Boundary dimensions of fractals of known dimension, and counts with closed forms."""

import json
import math

import numpy as np
import pytest
from label_planes import (
    cantor_bars,
    cantor_stripes,
    carpet,
    disk,
    gasket,
    grid,
    half_plane,
    koch,
    newton,
    rabbit_labels,
    rough_surface,
)
from scipy import ndimage

from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.label_plane import mixed_windows
from denoscope.foundation.errors import UserError


def _slope(sides, counts):
    return np.polyfit(-np.log(sides), np.log(counts), 1)[0]


def _whole_boxes(labels, side):
    """The number of mixed boxes of side² cells in the tiling from the corner, as published box counts have it."""
    high, wide = (length // side for length in labels.shape)
    boxes = labels[: high * side, : wide * side].reshape(high, side, wide, side)
    return np.count_nonzero(boxes.min(axis=(1, 3)) != boxes.max(axis=(1, 3)))


def test_newtons_dimension_in_spacings_and_in_whole_boxes():
    plane, sides = newton(), np.arange(5, 31)
    # The published value takes b cells as the side b, from one tiling and a plain fit.
    assert _slope(sides, [_whole_boxes(plane, side) for side in sides]) == pytest.approx(1.385, abs=5e-4)
    result = boundary_dimension(plane)
    assert result.value == pytest.approx(1.417, abs=5e-3)
    assert result.value == pytest.approx(2 - 0.555, abs=0.04)
    assert result.interval[0] <= 2 - 0.555 <= result.interval[1]


def test_counts_are_those_of_windows_filtered_by_scipy():
    plane, sides = newton(), np.array([5, 10, 20, 30])
    result, counts = boundary_dimension(plane, boxes=sides), []
    for side in sides:
        mixed = ndimage.minimum_filter(plane, side) != ndimage.maximum_filter(plane, side)
        # The filter centres a window on its cell `side // 2`; the widest window has 271 positions along each axis.
        first = (30 - side) // 2 + side // 2
        counts.append(mixed[first : first + 271, first : first + 271].sum() / (side - 1) ** 2)
    np.testing.assert_allclose(result.fit.counts, counts)
    slope = np.polyfit(-np.log(sides - 1), np.log(counts), 1, w=np.sqrt(counts))[0]
    assert result.value == pytest.approx(slope) == result.fit.slope


@pytest.mark.slow
def test_newtons_dimension_is_two_minus_the_uncertainty_exponent():
    result = boundary_dimension(newton(600))
    assert result.value == pytest.approx(2 - 0.555, abs=0.03)
    assert np.ptp(result.fit.local_slopes) < 0.05


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.2, 2.5])
def test_a_straight_boundary_has_dimension_1(angle):
    plane, sides = half_plane(300, angle), np.array([5, 10, 20, 30])
    assert boundary_dimension(plane).value == pytest.approx(1, abs=0.02)
    # In whole boxes, averaged over all tilings, it reads less: (b − 1)/b of the boxes on a line between cells are mixed.
    counts = [mixed_windows(plane, side).sum() / side**2 for side in sides]
    assert 0.88 < _slope(sides, counts) < 0.96


def test_counts_of_a_straight_boundary_have_their_closed_form():
    result = boundary_dimension(half_plane(120, 0.0), boxes=(4, 8, 16))
    sides = np.array([4, 8, 16])
    # Mixed windows: b − 1 places across the boundary, and along it the 105 places at which the widest box fits.
    np.testing.assert_allclose(result.fit.counts, (sides - 1) * 105 / (sides - 1) ** 2)
    np.testing.assert_allclose(result.fit.local_slopes, 1)
    np.testing.assert_allclose(result.mixed_share, (sides - 1) / (121 - sides))


def test_a_disk_has_dimension_1():
    assert boundary_dimension(disk(400, 0.6)).value == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("plane", "base", "counts", "dimension"),
    [
        (carpet(5), 3, lambda k: 8.0 ** (5 - k), math.log(8) / math.log(3)),
        (gasket(8), 2, lambda k: 3.0 ** (8 - k), math.log(3) / math.log(2)),
        (cantor_bars(5), 3, lambda k: 3.0 ** (5 - k) * 2.0 ** (5 - k), 1 + math.log(2) / math.log(3)),
    ],
    ids=["carpet", "gasket", "cantor"],
)
def test_self_similar_sets_have_their_dimension(plane, base, counts, dimension):
    levels = np.arange(1, 5)
    sides = base**levels
    result = boundary_dimension(plane, boxes=sides)
    aligned = [mixed_windows(plane, side)[::side, ::side].sum() for side in sides]
    np.testing.assert_array_equal(aligned, counts(levels))
    assert _slope(sides, aligned) == pytest.approx(dimension, abs=1e-12)
    # Over all tilings the counts oscillate with the period of the set, and the exponent only comes near.
    assert result.value == pytest.approx(dimension, abs=0.12)


def test_koch_has_its_dimension():
    result = boundary_dimension(koch(800), boxes=(9, 17, 33, 65))
    assert result.value == pytest.approx(math.log(4) / math.log(3), abs=0.03)
    # The cells cut off thin spikes, so that larger boxes come nearer.
    assert result.fit.local_slopes[-1] == pytest.approx(math.log(4) / math.log(3), abs=0.03)


def test_structure_finer_than_the_cells_lowers_the_dimension_as_stated():
    slopes = boundary_dimension(koch(800), boxes=(3, 5, 9, 17, 33)).fit.local_slopes
    assert slopes[[0, 3]] == pytest.approx([1.18, 1.25], abs=6e-3)
    planes = [cantor_stripes(200, np.random.default_rng(seed)) for seed in range(20)]
    for boxes, stated in {(2, 3, 5, 9, 17, 33): 1.48, (5, 10, 20, 30): 1.59}.items():
        values = [boundary_dimension(plane, boxes=boxes).value for plane in planes]
        assert np.mean(values) == pytest.approx(stated, abs=6e-3)


def test_boxes_of_few_cells_read_low_on_a_julia_set_and_wide_ones_have_its_dimension():
    """A box of s spacings sees (s + 1)² points of it: the wider, the fewer thin parts of the boundary it misses."""
    ticks = 1.4 * ((np.arange(512) + 0.5) / 256 - 1)
    plane = rabbit_labels(ticks[None] + 1j * ticks[:, None], steps=45)
    slopes = boundary_dimension(plane, boxes=(2, 3, 5, 9, 17, 33)).fit.local_slopes
    assert (np.diff(slopes) > 0).all() and slopes[0] == pytest.approx(1.28, abs=0.01)
    assert slopes[-1] == pytest.approx(1.3934, abs=0.02)
    part = 0.05 * (ticks[None, :64] + 1j * ticks[:64, None])
    assert (rabbit_labels(part, steps=45) == rabbit_labels(part, steps=90)).all()  # it is no lack of steps


def test_level_lines_of_a_rough_surface_have_2_minus_hurst():
    generator = np.random.default_rng(0)
    found = [
        boundary_dimension(rough_surface(512, 0.5, generator), boxes=(9, 17, 33, 65)).value for _ in range(3)
    ]
    # The cells smooth the shortest lengths, so that finite surfaces read less.
    assert np.mean(found) == pytest.approx(1.5, abs=0.12)


def test_noise_fills_the_plane_with_a_warning():
    result = boundary_dimension(np.random.default_rng(0).integers(0, 3, (200, 200)))
    assert result.value == pytest.approx(2, abs=0.01)
    assert "nearly all boxes of 5, 10, 20, 30 cells" in result.warnings[0]


def test_intervals_contain_the_value_of_other_planes():
    generator = np.random.default_rng(5)
    results = [boundary_dimension(rough_surface(128, 0.5, generator), boxes=(3, 5, 9, 17)) for _ in range(40)]
    centre = np.mean([result.value for result in results])
    covered = np.mean([result.interval[0] <= centre <= result.interval[1] for result in results])
    assert covered >= 0.85  # of 95 %, less has a probability of 0.3 %


def _random_disk(size, generator):
    x, y = grid(size)
    centre, radius = generator.uniform(-0.3, 0.3, 2), generator.uniform(0.3, 0.6)
    return (np.hypot(x - centre[0], y - centre[1]) < radius).astype(int)


@pytest.mark.parametrize("size", [100, 200])
@pytest.mark.parametrize(
    ("draw", "dimension"),
    [(_random_disk, 1), (cantor_stripes, 1 + math.log(2) / math.log(3))],
    ids=["disk", "cantor"],
)
def test_the_interval_contains_the_known_dimension(draw, dimension, size):
    generator = np.random.default_rng(2)
    results = [boundary_dimension(draw(size, generator)) for _ in range(12)]
    covered = [result.interval[0] <= dimension <= result.interval[1] for result in results]
    assert sum(covered) >= 11
    # The interval excludes the dimension of the plane and of most other boundaries.
    assert np.mean([result.interval[1] - result.interval[0] for result in results]) < (
        0.75 if size == 100 else 0.4
    )


def test_structure_cut_off_at_the_cells_gives_a_warning():
    plane = cantor_stripes(200, np.random.default_rng(0))
    found = boundary_dimension(plane, boxes=(2, 3, 5, 9, 17, 33))
    assert any("no single exponent" in line for line in found.warnings)
    assert found.interval[1] >= found.fit.local_slopes.max()
    assert not any("no single exponent" in line for line in boundary_dimension(plane).warnings)


def test_mixed_windows_agree_with_windows_checked_one_by_one():
    labels = np.random.default_rng(0).integers(0, 2, (19, 23)).cumsum(axis=1) // 9
    for side in (1, 2, 5, 8, 19):
        expected = [
            [len(np.unique(labels[y : y + side, x : x + side])) > 1 for x in range(24 - side)]
            for y in range(20 - side)
        ]
        np.testing.assert_array_equal(mixed_windows(labels, side), expected)


def test_the_result_is_reproducible_and_converts_to_json():
    first, again = boundary_dimension(newton(), seed=1), boundary_dimension(newton(), seed=1)
    assert first.to_json() == again.to_json()
    stored = json.loads(first.to_json())
    assert stored["fit"]["sides"] == [4, 9, 19, 29] and len(stored["fit"]["residuals"]) == 4
    assert "less than a decade" in first.warnings[0]
    assert float(first) == first.value
    assert f"{first.value:.3f}" in repr(first.fit) and "\n" not in repr(first.fit)


def test_a_boundary_at_the_corner_has_no_dimension():
    plane = np.zeros((100, 100), dtype=int)
    plane[0, 0] = 1
    result = boundary_dimension(plane)
    assert "edge of the plane" in result.warnings[0]
    assert math.isnan(result.value) and result.interval is None
    assert json.loads(result.to_json())["value"] is None


@pytest.mark.parametrize(
    ("labels", "boxes", "line"),
    [
        (np.eye(40), (5, 10, 20), "labels are float64"),
        (np.ones((40, 40), dtype=int), (5, 10, 20), "labels hold 1 classes"),
        (np.eye(40, dtype=int), (5, 10), "at least 3 different whole numbers"),
        (np.eye(40, dtype=int), (5, 5, 10), "at least 3 different whole numbers"),
        (np.eye(20, dtype=int), (5, 10, 30), "boxes range from 5 to 30 cells; allowed: 2 to 10"),
        (np.eye(40, dtype=int), (5, 10, 20, 30), "boxes range from 5 to 30 cells; allowed: 2 to 20"),
    ],
)
def test_invalid_input_is_refused_in_one_line(labels, boxes, line):
    with pytest.raises(UserError) as refused:
        boundary_dimension(labels, boxes=boxes)
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("rows", "flagged"), [(15, True), (50, False), (100, False)])
def test_a_boundary_along_the_edge_gives_a_warning(rows, flagged):
    labels = np.zeros((200, 200), int)
    labels[:rows] = 1
    warnings = boundary_dimension(labels).warnings
    assert any("close to the edge" in line for line in warnings) == flagged
