"""The curvature of a boundary: circles, lines, and what is no curve."""

import math

import numpy as np
import pytest

from denoscope.dynamics.boundaries.curvature import curvature

LINE = 0.01 * (np.arange(64) / 64 - 0.5)


def plane(inside):
    return inside(*np.meshgrid(LINE, LINE)).astype(int)


def circle(radius, x0=None, y0=0.0):
    """The inside of a circle, by default one that passes the middle."""
    return lambda x, y: np.hypot(x - (radius if x0 is None else x0), y - y0) < radius


@pytest.mark.parametrize(
    ("radius", "bias", "spread"), [(0.01, 0.05, 0.06), (0.02, 0.01, 0.13), (0.1, 0.0, 0.75)]
)
def test_circles_at_random_places_have_the_curvature_of_their_radius_within_the_error(radius, bias, spread):
    """The half-width is 0.005: a parabola reads a little above a circle of twice that radius, as the docstring says."""
    draws = np.random.default_rng(0)
    angles, shifts = (
        draws.uniform(0, 2 * np.pi, 100),
        draws.uniform(-0.5, 0.5, (100, 2)) * (LINE[1] - LINE[0]),
    )
    places = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1) + shifts
    found, errors = np.array([curvature(plane(circle(radius, *place)), LINE, LINE) for place in places]).T
    np.testing.assert_allclose(found * radius, 1 + bias, atol=spread)
    assert np.mean(found * radius) == pytest.approx(1 + bias, abs=0.02)
    assert (np.abs(found - 1 / radius) < 2 * errors).all()
    assert ((errors > 6.25) & (errors < 8)).all()  # 1/L2; half a spacing bends by 6.25


def test_an_ellipse_has_the_curvature_of_its_vertex():
    found, _ = curvature(plane(lambda x, y: ((x - 0.02) / 0.02) ** 2 + (y / 0.015) ** 2 < 1), LINE, LINE)
    assert found == pytest.approx(0.02 / 0.015**2, rel=0.05)


def test_curvature_is_an_inverse_length_in_either_direction_on_any_grid():
    labels = plane(circle(0.01))
    found = np.array(curvature(labels, LINE, LINE))
    np.testing.assert_allclose(curvature(labels, 1000 * LINE, 1000 * LINE), found / 1000, rtol=1e-9)
    np.testing.assert_allclose(curvature(labels.T, LINE, LINE), found, rtol=1e-9)
    np.testing.assert_allclose(curvature(1 - labels, LINE, LINE), found, rtol=1e-9)
    fine, half = 0.01 * (np.arange(128) / 128 - 0.5), LINE[::2]
    assert curvature(circle(0.01)(*np.meshgrid(fine, fine)).astype(int), fine, fine)[1] < 0.55 * found[1]
    assert curvature(circle(0.01)(*np.meshgrid(LINE, half)).astype(int), LINE, half)[0] == pytest.approx(
        100, abs=10
    )


@pytest.mark.parametrize("angle", np.linspace(0, 3, 7))
def test_a_line_is_straight_to_the_precision_of_the_cells(angle):
    labels = plane(lambda x, y: x * np.cos(angle) + y * np.sin(angle) > 2e-5)
    found, error = curvature(labels, LINE, LINE)
    assert found < error < 8


def test_only_the_boundary_through_the_middle_counts():
    labels = plane(lambda x, y: (np.hypot(x - 0.0105, y) < 0.01) | (np.hypot(x + 0.003, y) < 0.001))
    assert curvature(labels, LINE, LINE)[0] == pytest.approx(100, abs=8)


def test_a_rough_boundary_has_a_curvature_below_a_few_errors():
    shares = []
    for seed in range(20):
        rough = np.random.default_rng(seed).normal(size=64).cumsum()
        labels = (np.arange(64)[:, None] - 32 > (rough - rough[32])[None, :]).astype(int)
        found, error = curvature(labels, LINE, LINE)
        assert error > 8 and found < 15 * error
        shares.append(found / error)
    assert np.median(shares) < 4


@pytest.mark.parametrize("labels", [np.zeros((64, 64), int), np.eye(64, dtype=int) * (np.arange(64) == 32)])
def test_too_short_a_boundary_has_none(labels):
    assert all(math.isnan(value) for value in curvature(labels, LINE, LINE))
