"""Drawings of geometry show the numbers measured."""

import numpy as np
import pytest

from denoscope import dynamics, figures
from denoscope.figures import plots
from denoscope.foundation.errors import UserError

PATHS = np.random.default_rng(0).normal(size=(12, 6, 5)).cumsum(axis=1)


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_a_path_shows_the_median_step_and_turn():
    found = dynamics.path_geometry(PATHS)
    _, axes = plots.figure("double", columns=2)
    assert figures.draw_path(axes[0], found) is axes[0] and figures.draw_turns(axes[1], found) is axes[1]
    steps, turns = (ax.lines[0].get_ydata() for ax in axes)
    np.testing.assert_allclose(steps, np.median(found.step_lengths, axis=0))
    np.testing.assert_allclose(turns, np.median(found.turning_angles, axis=0))


def test_speed_is_drawn_over_the_noise_level_before_each_step(ax):
    """States 5 σ from the origin move by 5 for each σ, whatever the steps."""
    sigmas = [8.0, 3.0, 0.5, 0.0]
    line = np.array(sigmas)[None, :, None] * np.array([3.0, 4.0])
    found = dynamics.path_geometry(np.concatenate([line, 2 * line, 3 * line]), sigmas=sigmas)
    assert figures.draw_speed(ax, found, label="x_t") is ax
    (drawn,) = ax.lines
    assert list(drawn.get_xdata()) == [8.0, 3.0, 0.5] and drawn.get_ydata() == pytest.approx([10, 10, 10])
    (band,) = ax.collections
    assert {7.5, 12.5} <= set(band.get_paths()[0].vertices[:, 1].round(9)), "the middle half of 5, 10 and 15"
    faster = dynamics.path_geometry(10 * line, sigmas=sigmas)
    figures.draw_speed(ax, faster)
    assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > 50
    assert ax.xaxis_inverted() and ax.get_xscale() == "log" and ax.get_legend().texts[0].get_text() == "x_t"
    with pytest.raises(UserError, match="has no speeds; call path_geometry with sigmas"):
        figures.draw_speed(ax, dynamics.path_geometry(line))


@pytest.mark.parametrize("metric", ["euclidean", "dtw"])
def test_distances_are_drawn_with_a_white_diagonal(ax, metric):
    """Straight lines of four states at 0, 3 and 7, with distances 3, 4 and 7 between states."""
    lines = np.array([0.0, 3.0, 7.0])[:, None, None] * np.ones((3, 4, 1))
    factor = {"euclidean": 2, "dtw": 4}[metric]
    figures.draw_distances(ax, dynamics.trajectory_distances(lines, metric=metric))
    (image,) = ax.images
    drawn = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_allclose(drawn, factor * np.array([[np.nan, 3, 7], [3, np.nan, 4], [7, 4, np.nan]]))
    assert image.get_clim() == (3 * factor, 7 * factor)
    assert ax.figure.axes[1].get_ylabel() == f"{metric} distance"


def test_distances_to_another_set_are_drawn_completely(ax):
    lines = np.array([0.0, 3.0, 7.0])[:, None, None] * np.ones((3, 4, 1))
    figures.draw_distances(ax, dynamics.trajectory_distances(lines[:2], lines, metric="frechet"))
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 3, 7], [3, 0, 4]])


def test_participation_is_drawn_over_the_states(ax):
    found = dynamics.participation(PATHS)
    figures.draw_participation(ax, found, label="x_t")
    line, corrected = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), found.ratio)
    np.testing.assert_array_equal(corrected.get_ydata(), found.corrected)
    assert corrected.get_linestyle() == "--" and corrected.get_color() == line.get_color()
    assert ax.get_legend().texts[0].get_text() == "x_t"


def test_similarities_are_drawn_with_the_names_of_the_sets(ax):
    found = dynamics.cka_matrix([PATHS[:, 0], PATHS[:, 1], PATHS[:, 5]])
    figures.draw_similarity(ax, found, names=["a", "b", "c"])
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), np.clip(found.debiased, 0, 1))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
