"""Drawn measures: every number is at the place of its rank, step or coordinates."""

import numpy as np
import pytest
import torch
import xarray
from analytic import gaussian
from matplotlib.colors import to_hex

from denoscope import dynamics, figures
from denoscope.dynamics.sensitivity.epsilon_sweep import EpsilonSweep
from denoscope.figures import plots, style
from denoscope.foundation.errors import UserError


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_exponents_are_drawn_over_their_rank_with_a_line_for_each_row(ax):
    spectra = {"two x_T": np.array([[3.0, 1.0, -0.5, -2.0], [2.5, 0.5, -np.inf, -np.inf]]), "one": [0.3, 0.1]}
    assert figures.draw_exponents(ax, spectra) is ax
    *lines, zero = ax.lines
    rows = [*spectra["two x_T"], spectra["one"]]
    for line, row, color in zip(lines, rows, [style.CURVES[k] for k in (0, 0, 1)], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(len(row)) + 1)
        np.testing.assert_array_equal(line.get_ydata(), row)
        assert to_hex(line.get_color()) == to_hex(color)
    assert list(zero.get_ydata()) == [0, 0] and zero.get_linestyle() == "--"
    assert [text.get_text() for text in ax.get_legend().texts] == list(spectra)
    assert "rank" in ax.get_xlabel() and "whole map" in ax.get_ylabel()


def test_local_expansion_is_drawn_over_the_steps_with_a_line_for_each_direction(ax):
    found = dynamics.local_expansion(gaussian((3.0, 1.0, 0.5)), torch.zeros(1, 1, 1, 3), 2, steps=6)
    *lines, zero = figures.draw_expansion(ax, found).lines
    assert len(lines) == 2 and list(zero.get_ydata()) == [0, 0]
    for line, rates in zip(lines, found.rates.T, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(6))
        np.testing.assert_array_equal(line.get_ydata(), rates)
    assert "per step" in ax.get_ylabel()


def test_a_sweep_is_drawn_with_its_plateau_and_points_below_the_floor(ax):
    found = EpsilonSweep(
        value=1.0,
        epsilons=np.array([0.001, 0.01, 0.1, 1.0, 10.0]),
        growth=np.array([2.0, 1.0, 1.0, 1.02, 0.3]),
        spread=np.array([[1.0, 3.0], [0.9, 1.1], [0.9, 1.2], [1.0, 1.1], [0.2, 0.4]]),
        usable=np.array([False, True, True, True, True]),
        linear=np.array([False, True, True, True, False]),
        origin={},
    )
    figures.draw_sweep(ax, found)
    above, below = (container.lines[0] for container in ax.containers)
    np.testing.assert_array_equal(above.get_xdata(), found.epsilons[1:])
    np.testing.assert_array_equal(above.get_ydata(), found.growth[1:])
    assert list(below.get_xdata()) == [0.001] and below.get_markerfacecolor() == "white"
    ends = [segment[:, 1] for segment in ax.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, found.spread[1:])
    (plateau,) = ax.patches
    assert (plateau.get_x(), plateau.get_x() + plateau.get_width()) == pytest.approx((0.01, 1.0))
    assert ax.get_xscale() == "log"
    assert sorted(text.get_text() for text in ax.get_legend().texts) == [
        "below the noise floor",
        "linear, growth 1.00",
    ]


@pytest.mark.parametrize("count", [2, 5, 784])
def test_ranks_are_distinct_integers(ax, count):
    figures.draw_exponents(ax, {"all": -np.arange(float(count)), "the first": np.zeros(2)})
    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert 2 <= len(ticks) <= 12 and all(tick == round(tick) for tick in ticks)
    assert max(ticks) > 0.7 * count


def test_separations_are_drawn_over_the_steps_with_their_middle_half(ax):
    relative = np.exp(np.random.default_rng(0).normal(size=(5, 4)))
    layer = np.exp(np.random.default_rng(1).normal(size=(5, 3)))
    found = xarray.Dataset(
        {"relative": (("sample", "state"), relative), "conv_in relative": (("sample", "step"), layer)},
        coords={"state": np.arange(4), "step": np.arange(3)},
    )
    assert figures.draw_divergence(ax, found) is ax
    of_x, of_layer = ax.lines
    # The third of five numbers is the median, the second and fourth are the quartiles.
    ordered = np.sort(relative, axis=0)
    np.testing.assert_allclose(of_x.get_xydata(), np.stack([np.arange(4), ordered[2]], 1))
    np.testing.assert_allclose(of_layer.get_xydata(), np.stack([np.arange(3), np.sort(layer, axis=0)[2]], 1))
    band = ax.collections[0].get_paths()[0].vertices
    for state in range(4):
        heights = band[band[:, 0] == state, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], ordered[[1, 3], state])
    assert [text.get_text() for text in ax.get_legend().texts] == ["x_t", "conv_in"]
    assert ax.get_yscale() == "log" and all(tick == round(tick) for tick in ax.get_xticks())


def test_theory_is_drawn_with_exponents_and_separations(ax):
    eigenvalues, scheduler = np.array([3.0, 0.5, 0.1]), gaussian((1.0,) * 3)
    theory = dynamics.gaussian_theory(scheduler, eigenvalues, steps=4)
    figures.draw_exponents(ax, {"one": [0.3, 0.1]}, theory={"one": theory})
    _, expected, _ = ax.lines
    np.testing.assert_allclose(expected.get_ydata(), theory.exponents[:2])
    assert expected.get_color() == ax.lines[0].get_color()
    few = dynamics.gaussian_theory(gaussian((1.0,) * 4), np.array([3.0, 0.5, 0.0, 0.0]), steps=4)
    figures.draw_exponents(ax, {"all": -np.arange(60.0)}, theory={"all": few})
    every, known, _ = ax.lines[-3:]
    assert every.get_marker() == "None" and list(known.get_xdata()) == [1, 2]
    np.testing.assert_allclose(known.get_ydata(), few.exponents[:2])
    relative = np.full((2, 5), 0.5)
    found = xarray.Dataset(
        {"relative": (("sample", "state"), relative), "separation": (("sample", "state"), relative * 10)},
        coords={"state": np.arange(5)},
    )
    below = plots.figure()[1]
    figures.draw_divergence(below, found, theory=theory)
    line = next(line for line in below.lines if "Gaussian" in str(line.get_label()))
    np.testing.assert_allclose(line.get_ydata(), 0.5 * theory.separation)


def test_a_theory_of_other_steps_is_refused(ax):
    ones = (("sample", "state"), np.ones((3, 11)))
    found = xarray.Dataset({"relative": ones, "separation": ones}, coords={"state": np.arange(11)})
    theory = dynamics.gaussian_theory(gaussian((1.0,)), [1.0], steps=4)
    with pytest.raises(UserError, match=r"theory has 4 steps, and the divergence 10; .* steps=10"):
        figures.draw_divergence(ax, found, theory=theory)


def test_the_label_of_separations_lies_inside_of_a_plain_figure():
    import matplotlib.figure

    for scale in (1e-3, 1e-1, 1e5):
        relative = scale * np.exp(0.2 * np.random.default_rng(0).normal(size=(5, 11)))
        found = xarray.Dataset({"relative": (("sample", "state"), relative)}, coords={"state": np.arange(11)})
        figure = matplotlib.figure.Figure(figsize=(6.4, 4.8))
        ax = figures.draw_divergence(figure.subplots(), found)
        figure.draw_without_rendering()
        extent = ax.yaxis.label.get_window_extent()
        assert extent.x0 >= 0 and extent.y0 >= 0 and extent.y1 <= figure.bbox.y1
