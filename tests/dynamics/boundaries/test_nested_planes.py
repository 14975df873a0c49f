"""Nested planes of labels: the known dimension, and the verdict over the lengths that they span together."""

import numpy as np
import pytest
from label_planes import newton_labels
from scipy import ndimage

from benchmarks.intervals import zooms
from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.boundaries.nested_planes import judge_nested
from denoscope.dynamics.boundaries.verdict import verdict

COMPUTED = Audit(filled=0, checked=0, wrong=0)
HALF_WIDTHS = 2.0 ** -np.arange(4)
JULIA = -0.7937005259840998
"""−2^(−1/3), which Newton's method for z³ = 1 takes to 0: a point of the boundary between all three basins."""


def planes(label_of, cells=64):
    line = 2 * (np.arange(cells) / cells - 0.5)
    unit = np.stack(np.meshgrid(line, line), axis=-1)
    return [label_of(half_width * unit) for half_width in HALF_WIDTHS]


def test_newtons_boundary_is_fractal_on_planes_of_64_cells_once_they_are_nested():
    labels = planes(lambda points: newton_labels(points @ [[0.8, 0.6], [-0.6, 0.8]] + [JULIA, 0.0]))
    found = judge_nested(labels, HALF_WIDTHS)
    assert found.judgement.kind == "fractal" and found.fit.slope == pytest.approx(1.41, abs=0.05)
    low, high = found.interval
    assert low < 1.417 < high  # of 300² cells, in spacings
    assert all(verdict(plane).verdict != "fractal" for plane in labels)


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.3])
def test_a_straight_boundary_is_smooth(angle):
    labels = planes(lambda points: (points @ [np.cos(angle), np.sin(angle)] > 0).astype(int))
    found = judge_nested(labels, HALF_WIDTHS)
    assert found.judgement.kind == "smooth" and found.fit.slope == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("checked", [0, 50])
def test_filled_cells_that_may_be_wrong_leave_the_verdict_on_a_straight_boundary_undecided(checked):
    labels = planes(lambda points: (points @ [0.8, 0.6] > 0).astype(int))
    without, narrow = (judge_nested(labels, HALF_WIDTHS, audits=audits) for audits in ((), [COMPUTED] * 4))
    assert without.interval == narrow.interval and narrow.judgement.kind == narrow.shown == "smooth"
    audits = [COMPUTED, *[Audit(filled=3000, checked=checked, wrong=0)] * 2, COMPUTED]
    found = judge_nested(labels, HALF_WIDTHS, audits=audits)
    assert (found.judgement.kind, found.shown) == (
        "undecided",
        "smooth",
    ) and found.fit.slope == narrow.fit.slope
    assert found.interval[0] <= narrow.interval[0] and found.interval[1] > narrow.interval[1] + 0.1
    missed = (
        3000 if not checked else int((1 - 0.05 ** (1 / 50)) * 3000)
    )  # no wrong cell in 50 with a chance of 5 %
    assert f"with {2 * missed} wrong cells, which {2 * checked} checks of 6000" in found.judgement.reason
    assert "larger audit" in found.judgement.reason


def test_noise_is_not_a_fractal():
    draws = np.random.default_rng(0)
    found = judge_nested([draws.integers(0, 2, (64, 64)) for _ in HALF_WIDTHS], HALF_WIDTHS)
    assert found.judgement.kind == "noise"


def test_the_interval_contains_a_dimension_that_small_boxes_miss():
    """Stripes that end at Cantor's set: the slopes rise from 1.35 to 1.6 with the side of the boxes, below 1 + ln 2/ln 3."""
    draws, found = np.random.default_rng(0), []
    for _ in range(12):
        stripes = zooms.stripes(draws)
        found.append(
            judge_nested([stripes(zooms.coordinates(width)) for width in HALF_WIDTHS], HALF_WIDTHS).interval
        )
    truth = 1 + np.log(2) / np.log(3)
    assert sum(low < truth < high for low, high in found) >= 11
    assert np.median([high - low for low, high in found]) < 0.4


def test_planes_whose_boxes_leave_lengths_out_span_no_more_than_one_of_them():
    labels = planes(lambda points: newton_labels(points + np.array([JULIA, 0.0])))
    assert judge_nested(labels, 8.0 ** -np.arange(4)).judgement.kind == "fractal"
    assert judge_nested(labels, 9.0 ** -np.arange(4)).judgement.kind == "undecided"


@pytest.mark.parametrize(("count", "width"), [(3, 1.7), (2, 1.0)])
def test_rounded_blobs_are_no_fractal_however_much_narrower_the_planes_become(count, width):
    """Level lines of smooth fields: no octave scales, or only lengths up to 2 of the 8 spacings to the next plane."""
    draws = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(draws.normal(size=(64, 64)), width) for _ in range(count)]
    found = judge_nested([(field > 0).astype(int) for field in fields], 8.0 ** -np.arange(count))
    assert found.judgement.kind == "undecided" and "steeper" in found.judgement.reason
    assert "nan" not in found.judgement.reason
