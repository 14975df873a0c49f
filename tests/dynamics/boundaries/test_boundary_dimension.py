"""Boundary dimensions against fractals of known dimension, and counts that can be written down."""

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
    rough_surface,
)

from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.label_plane import mixed_windows
from denoscope.foundation.errors import UserError


def _slope(sides, counts):
    return np.polyfit(-np.log(sides), np.log(counts), 1)[0]


def test_newton_has_its_known_dimension():
    sides = np.arange(5, 31)
    result = boundary_dimension(newton(), boxes=sides)
    # The convention that gives these digits: one tiling from the corner, all sides of 5 to 30 cells, a plain fit.
    assert _slope(sides, result.corner_counts) == pytest.approx(1.385, abs=5e-4)
    assert boundary_dimension(newton()).value == pytest.approx(1.385, abs=0.01)
    assert result.interval[0] <= 1.385 <= result.interval[1]


def test_newton_spaced_meets_the_uncertainty_exponent():
    result = boundary_dimension(newton(600), boxes=(5, 10, 20, 30))
    assert result.spaced_value == pytest.approx(2 - 0.555, abs=0.03)
    assert np.ptp(result.spaced_fit.local_slopes) < 0.05


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.2, 2.5])
def test_a_straight_boundary_reads_1_by_the_spaced_fit(angle):
    result = boundary_dimension(half_plane(300, angle))
    assert result.spaced_value == pytest.approx(1, abs=0.02)
    # b cells span b − 1 spacings: of boxes on a line between cells, (b − 1)/b are mixed.
    assert 0.88 < result.value < 0.96


def test_counts_of_a_straight_boundary_can_be_written_down():
    result = boundary_dimension(half_plane(120, 0.0), boxes=(4, 8, 16))
    sides = np.array([4, 8, 16])
    # Windows over the boundary: b − 1 places across, 121 − b along; b² tilings share them.
    np.testing.assert_allclose(result.fit.counts, (sides - 1) * (121 - sides) / sides**2)
    np.testing.assert_allclose(result.spaced_fit.counts, (sides - 1) * 105 / (sides - 1) ** 2)
    np.testing.assert_allclose(result.spaced_fit.local_slopes, 1)


def test_a_disk_is_smooth():
    assert boundary_dimension(disk(400, 0.6)).spaced_value == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("plane", "base", "counts", "dimension"),
    [
        (carpet(5), 3, lambda k: 8.0 ** (5 - k), math.log(8) / math.log(3)),
        (gasket(8), 2, lambda k: 3.0 ** (8 - k), math.log(3) / math.log(2)),
        (cantor_bars(5), 3, lambda k: 3.0 ** (5 - k) * 2.0 ** (5 - k), 1 + math.log(2) / math.log(3)),
    ],
    ids=["carpet", "gasket", "cantor"],
)
def test_exact_counts_of_selfsimilar_sets(plane, base, counts, dimension):
    levels = np.arange(1, 5)
    sides = base**levels
    result = boundary_dimension(plane, boxes=sides)
    np.testing.assert_array_equal(result.corner_counts, counts(levels))
    assert _slope(sides, result.corner_counts) == pytest.approx(dimension, abs=1e-12)
    # Over all tilings the counts wave with the set's own period; the exponent stays near.
    assert result.spaced_value == pytest.approx(dimension, abs=0.12)


def test_koch_has_its_dimension():
    result = boundary_dimension(koch(800), boxes=(9, 17, 33, 65))
    assert result.spaced_value == pytest.approx(math.log(4) / math.log(3), abs=0.03)
    # The cells cut thin spikes off: the longer the boxes, the nearer.
    assert result.spaced_fit.local_slopes[-1] == pytest.approx(math.log(4) / math.log(3), abs=0.03)


def test_level_lines_of_a_rough_surface_have_2_minus_hurst():
    generator = np.random.default_rng(0)
    found = [
        boundary_dimension(rough_surface(512, 0.5, generator), boxes=(9, 17, 33, 65)).spaced_value
        for _ in range(6)
    ]
    # The cells smooth the shortest lengths, so finite surfaces fall short of it.
    assert np.mean(found) == pytest.approx(1.5, abs=0.12)


def test_noise_fills_the_plane_and_is_flagged():
    result = boundary_dimension(np.random.default_rng(0).integers(0, 3, (200, 200)))
    assert result.spaced_value == pytest.approx(2, abs=0.01)
    assert "hold a boundary nearly everywhere" in result.warnings[0]


def test_intervals_hold_what_other_parts_of_the_boundary_read():
    generator = np.random.default_rng(5)
    results = [boundary_dimension(rough_surface(128, 0.5, generator), boxes=(3, 5, 9, 17)) for _ in range(80)]
    centre = np.mean([result.spaced_value for result in results])
    held = np.mean([result.spaced_interval[0] <= centre <= result.spaced_interval[1] for result in results])
    assert held >= 0.85


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
def test_the_interval_holds_the_known_dimension(draw, dimension, size):
    generator = np.random.default_rng(2)
    results = [boundary_dimension(draw(size, generator)) for _ in range(12)]
    held = [result.interval[0] <= dimension <= result.interval[1] for result in results]
    assert sum(held) >= 11
    # It is no interval that holds everything: neither another boundary's dimension nor the plane's.
    assert np.mean([result.interval[1] - result.interval[0] for result in results]) < (
        0.75 if size == 100 else 0.4
    )


def test_structure_cut_off_at_the_cells_is_flagged():
    plane = cantor_stripes(200, np.random.default_rng(0))
    found = boundary_dimension(plane, boxes=(2, 3, 5, 9, 17, 33))
    assert any("no one exponent holds" in line for line in found.warnings)
    assert found.spaced_interval[1] == found.spaced_fit.local_slopes.max()
    assert not any("no one exponent holds" in line for line in boundary_dimension(plane).warnings)


def test_mixed_windows_are_those_found_one_by_one():
    labels = np.random.default_rng(0).integers(0, 2, (19, 23)).cumsum(axis=1) // 9
    for side in (1, 2, 5, 8, 19):
        expected = [
            [len(np.unique(labels[y : y + side, x : x + side])) > 1 for x in range(24 - side)]
            for y in range(20 - side)
        ]
        np.testing.assert_array_equal(mixed_windows(labels, side), expected)


def test_the_result_is_told_in_json_and_repeats_itself():
    first, again = boundary_dimension(newton(), seed=1), boundary_dimension(newton(), seed=1)
    assert first.to_json() == again.to_json()
    told = json.loads(first.to_json())
    assert told["fit"]["sides"] == [5, 10, 20, 30] and len(told["fit"]["residuals"]) == 4
    assert "less than a decade" in first.warnings[0]
    assert float(first) == first.value


def test_a_boundary_at_the_edge_is_flagged():
    plane = np.zeros((100, 100), dtype=int)
    plane[0, 0] = 1
    result = boundary_dimension(plane)
    assert "the boundary lies at the grid's edge" in result.warnings[0]
    told = json.loads(result.to_json())
    assert told["spaced_value"] is None and told["spaced_interval"] == [None, None]
    assert result.interval[0] <= result.value <= result.interval[1]


@pytest.mark.parametrize(
    ("labels", "boxes", "line"),
    [
        (np.eye(40), (5, 10, 20), "labels are float64"),
        (np.ones((40, 40), dtype=int), (5, 10, 20), "labels hold 1 classes"),
        (np.eye(40, dtype=int), (5, 10), "at least 3 different whole numbers"),
        (np.eye(40, dtype=int), (5, 5, 10), "at least 3 different whole numbers"),
        (np.eye(20, dtype=int), (5, 10, 30), "boxes run from 5 to 30 cells; allowed: 2 to 10"),
        (np.eye(40, dtype=int), (5, 10, 20, 30), "boxes run from 5 to 30 cells; allowed: 2 to 20"),
    ],
)
def test_wrong_input_is_refused_in_a_line(labels, boxes, line):
    with pytest.raises(UserError) as refused:
        boundary_dimension(labels, boxes=boxes)
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("rows", "flagged"), [(15, True), (50, False), (100, False)])
def test_a_boundary_along_the_edge_is_flagged(rows, flagged):
    labels = np.zeros((200, 200), int)
    labels[:rows] = 1
    told = [line for line in boundary_dimension(labels).warnings if "so near the grid's edge" in line]
    assert bool(told) == flagged
