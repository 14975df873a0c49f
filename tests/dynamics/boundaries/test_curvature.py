"""The curvature of a boundary: circles, lines, and what is no curve."""

import math

import numpy as np
import pytest

from denoscope.dynamics.boundaries.curvature import curvature

LINE = 0.01 * (np.arange(64) / 64 - 0.5)


def plane(inside):
    return inside(*np.meshgrid(LINE, LINE)).astype(int)


@pytest.mark.parametrize("radius", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("angle", np.linspace(0, 6, 7))
def test_a_circle_has_the_curvature_of_its_radius(radius, angle):
    x0, y0 = radius * np.cos(angle), radius * np.sin(angle)
    found, error = curvature(plane(lambda x, y: np.hypot(x - x0, y - y0) < radius), LINE, LINE)
    assert abs(found - 1 / radius) < 2 * error and error < 8  # 1/L2; half a spacing bends by 6.25


@pytest.mark.parametrize("angle", np.linspace(0, 3, 7))
def test_a_line_is_straight_to_the_precision_of_the_cells(angle):
    labels = plane(lambda x, y: x * np.cos(angle) + y * np.sin(angle) > 2e-5)
    found, error = curvature(labels, LINE, LINE)
    assert found < error < 8


def test_only_the_boundary_through_the_middle_counts():
    labels = plane(lambda x, y: (np.hypot(x - 0.0105, y) < 0.01) | (np.hypot(x + 0.003, y) < 0.001))
    assert curvature(labels, LINE, LINE)[0] == pytest.approx(100, abs=8)


def test_a_rough_boundary_has_a_curvature_below_a_few_errors():
    rough = np.random.default_rng(0).normal(size=64).cumsum()
    labels = (np.arange(64)[:, None] - 32 > (rough - rough[32])[None, :]).astype(int)
    assert curvature(labels, LINE, LINE)[1] > 10


@pytest.mark.parametrize("labels", [np.zeros((64, 64), int), np.eye(64, dtype=int) * (np.arange(64) == 32)])
def test_too_short_a_boundary_has_none(labels):
    assert all(math.isnan(value) for value in curvature(labels, LINE, LINE))
