"""Drawings of geometry: what the axes hold is what was measured."""

import numpy as np
import pytest

from denoscope import dynamics, plots

PATHS = np.random.default_rng(0).normal(size=(12, 6, 5)).cumsum(axis=1)


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_a_path_shows_the_median_step_and_turn(ax):
    found = dynamics.path_geometry(PATHS)
    assert dynamics.draw_path(ax, found) is ax
    (beside,) = (other for other in ax.figure.axes if other is not ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(found.step_lengths, axis=0))
    np.testing.assert_allclose(
        beside.lines[0].get_ydata(), np.degrees(np.median(found.turning_angles, axis=0))
    )


def test_participation_is_drawn_by_state(ax):
    found = dynamics.participation(PATHS)
    dynamics.draw_participation(ax, found, label="x_t")
    line, corrected = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), found.ratio)
    np.testing.assert_array_equal(corrected.get_ydata(), found.corrected)
    assert corrected.get_linestyle() == "--" and corrected.get_color() == line.get_color()
    assert ax.get_legend().texts[0].get_text() == "x_t"


def test_similarities_are_a_picture_with_the_names_of_the_sets(ax):
    found = dynamics.cka_matrix([PATHS[:, 0], PATHS[:, 1], PATHS[:, 5]])
    dynamics.draw_similarity(ax, found, names=["a", "b", "c"])
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), np.clip(found.debiased, 0, 1))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
