"""The Wada test on planes that are Wada by theorem, and on planes that plainly are not."""

import numpy as np
import pytest
from label_planes import half_plane, newton, rays

from denoscope.dynamics.boundaries.wada import wada
from denoscope.foundation.errors import UserError


def test_newtons_basins_are_wada():
    result = wada(newton())
    assert result.reading == "wada"
    assert result.seen_at <= 17
    assert result.resolution_ratio == pytest.approx(1, abs=0.05)
    assert (np.diff(result.fractions) > 0).all() and result.fractions[-1] > 0.98


def test_sectors_meet_at_a_point_alone():
    result = wada(rays(300))
    assert result.reading == "not wada" and result.seen_at is None
    # A box of b cells holds the point at b² places; it is mixed at about 3·150·b places.
    assert result.resolution_ratio == pytest.approx(0.5, abs=0.15)
    assert (result.fractions < 0.1).all()


def test_fractions_are_those_of_windows_looked_at_one_by_one():
    labels = np.random.default_rng(0).integers(0, 3, (20, 24))
    labels.sort(axis=1)
    windows = [np.unique(labels[y : y + 5, x : x + 5]) for y in range(16) for x in range(20)]
    mixed = [len(found) for found in windows if len(found) > 1]
    assert wada(labels, boxes=[5]).fractions[0] == pytest.approx(np.mean(np.array(mixed) == 3))


def test_stripes_side_by_side_are_not_wada():
    result = wada(np.tile(np.arange(90) // 30, (90, 1)), boxes=(3, 9, 17))
    assert result.fractions.tolist() == [0, 0, 0]
    assert result.reading == "not wada" and result.resolution_ratio == 0


def test_noise_is_left_undecided():
    result = wada(np.random.default_rng(0).integers(0, 3, (200, 200)))
    assert result.reading == "undecided" and "noise drawn per cell" in result.warnings[0]


def test_the_reject_class_is_asked_for_by_name_alone():
    labels = newton()
    labels[150, 150] = -1
    assert wada(labels).reading == "wada"
    named = wada(labels, classes=(-1, 0, 1, 2))
    assert named.reading == "not wada" or named.fractions[0] < 0.01
    assert "less than a thousandth" in named.warnings[0]


@pytest.mark.parametrize(
    ("labels", "options", "line"),
    [
        (half_plane(50, 0.3), {}, "2 classes to look for; allowed: at least 3"),
        (rays(50), {"classes": (0, 1, 7)}, "no cell has label 7"),
        (rays(50), {"classes": "abc"}, "classes are 'abc'; allowed: three or more"),
        (rays(50), {"boxes": (3, 60)}, "boxes run from 3 to 60"),
        (rays(50).astype(float), {}, "labels are float64"),
    ],
)
def test_wrong_input_is_refused_in_a_line(labels, options, line):
    with pytest.raises(UserError) as refused:
        wada(labels, **options)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_resolution_that_cannot_be_halved_is_undecided():
    labels = np.add.outer(np.arange(60) // 2, np.arange(60) // 3) % 3
    found = wada(labels, boxes=(33, 45))
    assert found.reading == "undecided" and "at half the resolution no box fits" in found.warnings[0]


def test_specks_of_other_labels_are_no_boundary_of_the_classes():
    y, x = np.mgrid[:120, :120]
    labels = np.where(x < 60, 0, np.where(y < 60, 1, 2))
    specks = np.where(np.random.default_rng(0).random(labels.shape) < 5e-4, 3, labels)
    np.testing.assert_allclose(wada(specks, classes=(0, 1, 2)).fractions, wada(labels).fractions, rtol=0.02)
