"""The Wada test on planes that are Wada by theorem, and on planes that are not."""

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


def test_sectors_that_meet_at_a_point_are_not_wada():
    result = wada(rays(300))
    assert result.reading == "not wada" and result.seen_at is None
    # A box of b² cells holds the point at b² places, and is mixed at about 3·150·b places.
    assert result.resolution_ratio == pytest.approx(0.5, abs=0.15)
    assert (result.fractions < 0.1).all()


def test_fractions_agree_with_windows_counted_one_by_one():
    labels = np.random.default_rng(0).integers(0, 3, (20, 24))
    labels.sort(axis=1)
    windows = [np.unique(labels[y : y + 5, x : x + 5]) for y in range(16) for x in range(20)]
    mixed = [len(labels) for labels in windows if len(labels) > 1]
    assert wada(labels, boxes=[5]).fractions[0] == pytest.approx(np.mean(np.array(mixed) == 3))


def test_stripes_side_by_side_are_not_wada():
    result = wada(np.tile(np.arange(90) // 30, (90, 1)), boxes=(3, 9, 17))
    assert result.fractions.tolist() == [0, 0, 0]
    assert result.reading == "not wada" and result.resolution_ratio == 0


def test_noise_is_undecided():
    result = wada(np.random.default_rng(0).integers(0, 3, (200, 200)))
    assert result.reading == "undecided" and "noise" in result.warnings[0]


def test_the_reject_class_is_ignored_unless_it_is_named():
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
        (rays(50), {"classes": "abc"}, "classes are 'abc'; allowed: at least three"),
        (rays(50), {"boxes": (3, 60)}, "boxes range from 3 to 60"),
        (rays(50).astype(float), {}, "labels are float64"),
    ],
)
def test_invalid_input_is_refused_in_one_line(labels, options, line):
    with pytest.raises(UserError) as refused:
        wada(labels, **options)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_plane_too_small_for_half_the_resolution_is_undecided():
    labels = np.add.outer(np.arange(60) // 2, np.arange(60) // 3) % 3
    found = wada(labels, boxes=(33, 45))
    assert found.reading == "undecided" and "half the resolution" in found.warnings[0]


def test_specks_of_other_labels_are_ignored():
    y, x = np.mgrid[:120, :120]
    labels = np.where(x < 60, 0, np.where(y < 60, 1, 2))
    specks = np.where(np.random.default_rng(0).random(labels.shape) < 5e-4, 3, labels)
    np.testing.assert_allclose(wada(specks, classes=(0, 1, 2)).fractions, wada(labels).fractions, rtol=0.02)


def stripes(period: float, angle: float, size: int = 150) -> np.ndarray:
    """Straight stripes of three colours; a period holds one of each."""
    y, x = np.mgrid[:size, :size]
    return np.floor((np.cos(angle) * x + np.sin(angle) * y) * 3 / period).astype(int) % 3


@pytest.mark.parametrize("period", [3.2, 3.5, 3.75, 4.0, 4.5])
def test_stripes_that_alias_are_not_wada(period):
    for angle in np.random.default_rng(0).uniform(0, np.pi, 8):
        found = wada(stripes(period, angle))
        assert found.reading != "wada"
        assert any("finer plane" in line or "noise" in line for line in found.warnings)


@pytest.mark.parametrize("shape", ["disk", "half", "rings"])
def test_patterns_that_alias_in_a_part_of_the_plane_are_not_wada(shape):
    y, x = np.mgrid[:150, :150] - 75
    part = {"disk": np.hypot(x, y) < 40, "half": x > 0, "rings": np.hypot(x, y) > 20}[shape]
    pattern = np.floor(np.hypot(x, y) * 3 / 3.6).astype(int) % 3 if shape == "rings" else stripes(3.6, 0.3)
    assert wada(np.where(part, pattern, 0)).reading != "wada"


@pytest.mark.parametrize("size", [100, 160])
def test_newtons_basins_are_wada_at_lower_resolutions(size):
    found = wada(newton(size))
    assert found.reading == "wada" and not any("finer plane" in line for line in found.warnings)


@pytest.mark.parametrize("period", [7.0, 12.0])
def test_wider_stripes_are_not_wada(period):
    assert wada(stripes(period, 0.3)).reading == "not wada"
