"""The verdict on fractals, on smooth boundaries, and on planes that only look fractal."""

import json
import math

import numpy as np
import pytest
from label_planes import disk, gasket, grid, half_plane, koch, mixture_under_ddpm, newton, rays, rough_surface

from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.disorder import cell_disorder, isolated_share
from denoscope.dynamics.boundaries.label_nulls import cell_noise, shuffled, straight_boundaries
from denoscope.dynamics.boundaries.verdict import verdict
from denoscope.foundation.errors import UserError


def _edges(labels):
    return np.count_nonzero(np.diff(labels, axis=0)) + np.count_nonzero(np.diff(labels, axis=1))


def _flipped(labels, share, seed=0):
    generator = np.random.default_rng(seed)
    return np.where(
        generator.random(labels.shape) < share, generator.integers(0, labels.max() + 1, labels.shape), labels
    )


@pytest.mark.parametrize("size", [150, 300, pytest.param(600, marks=pytest.mark.slow)])
def test_newtons_fractal_is_fractal(size):
    found = verdict(newton(size))
    assert found.verdict == "fractal" and found.decades >= 1
    assert found.dimension.value == pytest.approx(2 - 0.555, abs=0.06)
    assert found.scales[0] == 1


@pytest.mark.parametrize(
    "plane",
    [gasket(8), koch(300), rough_surface(300, 0.5, np.random.default_rng(0))],
    ids=["gasket", "koch", "rough"],
)
def test_known_fractals_are_fractal(plane):
    assert verdict(plane).verdict == "fractal"


def _winding(size):
    x, y = grid(size)
    return (y > 0.5 * np.sin(8 * x)).astype(int)


def _stripes(size):
    x, y = grid(size)
    return (np.floor((0.8 * x + 0.6 * y) * 20) % 3).astype(int)


@pytest.mark.parametrize(
    "plane",
    [
        half_plane(300, 0.0), half_plane(300, math.pi / 4), rays(300, classes=10), disk(300, 0.05), _winding(300),
        half_plane(40, 0.3),
        *(pytest.param(plane, marks=pytest.mark.slow) for plane in (half_plane(300, 0.3), rays(300), disk(300, 0.5))),
    ],
    ids=["axis", "diagonal", "ten rays", "small disk", "winding", "small grid", "tilted", "rays", "disk"],
)  # fmt: skip
def test_smooth_boundaries_are_smooth(plane):
    found = verdict(plane)
    assert found.verdict == "smooth", str(found)
    assert found.scales is None and found.decades is None


def test_the_reason_mentions_that_narrow_basins_wind():
    found = verdict(_stripes(300))
    assert found.verdict == "smooth" and "winds" in found.reason


def test_noise_common_to_all_cells_gives_a_smooth_line():
    draw = np.random.default_rng(0)
    plane = mixture_under_ddpm(300, lambda: draw.standard_normal())
    assert _edges(plane) < 750
    assert verdict(plane).verdict == "smooth"


def test_noise_that_differs_between_cells_gives_an_artefact():
    draw = np.random.default_rng(0)
    plane = mixture_under_ddpm(600, lambda: draw.standard_normal((600, 600)))
    assert _edges(plane) > 150_000
    assert boundary_dimension(plane).value == pytest.approx(1.75, abs=0.1)
    found = verdict(plane)
    assert found.verdict == "noise"
    assert "artefact" in found.reason and "common to all cells" in found.reason


@pytest.mark.parametrize("width", [0.02, pytest.param(0.1, marks=pytest.mark.slow), 0.3])
def test_a_band_of_noise_along_a_straight_boundary_is_noise(width):
    x, y = grid(300)
    likely = 1 / (1 + np.exp(-(0.9 * x + 0.4 * y) / width))
    plane = (np.random.default_rng(0).random((300, 300)) < likely).astype(int)
    assert boundary_dimension(plane, boxes=(5, 9, 17)).value > 1.3
    assert verdict(plane).verdict == "noise"


@pytest.mark.parametrize("classes", [2, pytest.param(3, marks=pytest.mark.slow), 10])
def test_labels_drawn_for_each_cell_are_noise(classes):
    assert verdict(np.random.default_rng(0).integers(0, classes, (200, 200))).verdict == "noise"


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_specks_on_smooth_basins_are_neither_smooth_nor_fractal(share):
    found = verdict(_flipped(rays(300), share))
    assert found.verdict == "undecided" and "isolated" in found.reason


def test_basins_of_a_few_cells_are_undecided():
    blobs = np.kron(np.random.default_rng(0).integers(0, 3, (100, 100)), np.ones((3, 3), dtype=int))
    assert verdict(blobs).verdict == "undecided"


@pytest.mark.parametrize("cells", [1, 2])
def test_too_little_boundary_is_undecided(cells):
    plane = np.zeros((100, 100), dtype=int)
    plane[50, 50 : 50 + cells] = 1
    found = verdict(plane)
    assert found.verdict == "undecided" and f"{2 + 3 * cells} cells" in found.reason


def test_a_boundary_along_the_edge_is_undecided():
    plane = np.zeros((100, 100), dtype=int)
    plane[:, 0] = 1
    found = verdict(plane)
    assert found.verdict == "undecided" and "edge" in found.reason


def test_a_fractal_on_less_than_a_decade_is_undecided():
    found = verdict(newton(60))
    assert found.verdict == "undecided" and "85×85" in found.reason


def test_a_ridge_of_growth_does_not_make_a_fractal():
    x = grid(200)[0]
    # Two Gaussians: growth of 27 on a straight boundary, of −1.7 beside it.
    growth = -1.7 + 28.7 * np.exp(-(((x - 0.1) / 0.05) ** 2))
    found = verdict(half_plane(200, 0.0), growth=growth)
    assert found.verdict == "smooth"
    assert found.ridge > 20 and "ridge" in found.reason
    assert verdict(newton(200), growth=growth).verdict == "fractal"


def test_null_models_have_their_known_values():
    found = verdict(newton())
    assert found.nulls["straight"].dimension == pytest.approx((1, 1), abs=0.03)
    assert found.nulls["straight"].isolated[1] < 0.01
    assert found.nulls["shuffle"].dimension[0] > 1.95
    assert found.nulls["shuffle"].disorder == pytest.approx((1, 1), abs=0.01)


def test_null_planes_preserve_the_shares_of_the_labels():
    generator, labels = np.random.default_rng(0), newton(160)
    local = cell_noise(labels, generator)
    blocks = labels.reshape(20, 8, 20, 8).sum(axis=(1, 3))
    np.testing.assert_array_equal(local.reshape(20, 8, 20, 8).sum(axis=(1, 3)), blocks)
    np.testing.assert_array_equal(
        np.bincount(shuffled(labels, generator).ravel()), np.bincount(labels.ravel())
    )
    for classes in (2, 3, 10):
        assert len(np.unique(straight_boundaries((60, 90), classes, generator))) == classes


def test_disorder_agrees_with_windows_counted_one_by_one():
    labels = np.random.default_rng(0).integers(0, 3, (9, 11)).cumsum(axis=0) // 3
    near, any_two = [], []
    for y in range(6):
        for x in range(8):
            window = labels[y : y + 4, x : x + 4]
            near.append(_edges(window) / 24)
            flat = window.ravel()
            any_two.append((flat[:, None] != flat[None, :]).sum() / (16 * 15))
    assert cell_disorder(labels) == pytest.approx(np.mean(near) / np.mean(any_two))


def test_disorder_of_a_straight_boundary_has_its_closed_form():
    # A vertical line at column c of a window: 4 of 24 neighbours differ, and 2·4c·(16 − 4c) of 240 pairs.
    expected = 3 * (4 / 24) / sum(2 * 4 * c * (16 - 4 * c) / 240 for c in (1, 2, 3))
    assert cell_disorder(half_plane(100, 0.0)) == pytest.approx(expected)
    assert cell_disorder(np.ones((9, 9), dtype=int)) == 0


def test_disorder_of_known_planes_is_the_one_stated():
    straight = [cell_disorder(half_plane(300, angle)) for angle in np.linspace(0, math.pi, 12)]
    assert min(straight) > 0.37 and max(straight) < 0.54
    assert cell_disorder(newton()) == pytest.approx(0.68, abs=0.01)
    drawn = np.random.default_rng(0).integers(0, 3, (200, 200))
    assert cell_disorder(drawn) == pytest.approx(1, abs=0.01)


def test_isolated_cells_are_counted():
    plane = np.zeros((9, 9), dtype=int)
    plane[4, 4] = 1
    # The cell itself is isolated; its four neighbours touch it.
    assert isolated_share(plane) == pytest.approx(1 / 5)
    assert isolated_share(np.ones((9, 9), dtype=int)) == 0


def test_a_verdict_is_reproducible_and_converts_to_json():
    found = verdict(newton(150), seed=3)
    assert found.to_json() == verdict(newton(150), seed=3).to_json()
    stored = json.loads(found.to_json())
    assert stored["verdict"] == "fractal" and set(stored["nulls"]) == {"straight", "cell noise", "shuffle"}
    assert str(found).startswith("fractal: ")


@pytest.mark.parametrize(
    ("labels", "options", "line"),
    [
        (rays(24), {}, "the plane has 24×24 cells; allowed: at least 25×25"),
        (np.zeros((50, 50), dtype=int), {}, "labels hold 1 classes"),
        (rays(50), {"growth": np.zeros((5, 5))}, "growth is float64 of shape [5, 5]"),
        (rays(50), {"growth": np.full((50, 50), np.nan)}, "finite number"),
    ],
)
def test_invalid_input_is_refused_in_one_line(labels, options, line):
    with pytest.raises(UserError) as refused:
        verdict(labels, **options)
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_cell_noise_over_a_steep_ramp_is_not_fractal(seed):
    # Each cell is drawn independently; the probability of label 1 rises from 0 to 1 over a few cells.
    draws, n = np.random.default_rng(seed), 400
    angle = draws.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    along = np.cos(angle) * x + np.sin(angle) * y + draws.uniform(-n / 6, n / 6)
    labels = (draws.random((n, n)) < 1 / (1 + np.exp(-along))).astype(int)
    assert verdict(labels).verdict in ("noise", "undecided")


@pytest.mark.parametrize("seed", [33, 72, 83])
def test_rough_surfaces_are_not_called_smooth(seed):
    """The three surfaces of dimension 1.2 that look smoothest: their slopes at the cells are 0.99, 1.04 and 1.02."""
    plane = rough_surface(85, 0.8, np.random.default_rng(seed))
    found = verdict(plane)
    assert found.dimension.fit.local_slopes[0] <= 1.05
    assert found.verdict == "undecided"
