"""Drawings of closed loops show the numbers measured."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from denoscope import dynamics, figures


@pytest.fixture
def ax():
    return Figure().subplots()


def logistic(r):
    return lambda x: r * x * (1 - x)


START = torch.tensor([0.3], dtype=torch.float64)


def test_an_orbit_diagram_shows_every_value_over_its_parameter(ax):
    found = dynamics.orbit_diagram(logistic, [2.8, 3.2], START, iterations=3, discard=200)
    (line,) = figures.draw_orbit_diagram(ax, found).lines
    assert line.get_xdata().tolist() == [2.8] * 3 + [3.2] * 3
    np.testing.assert_allclose(line.get_ydata()[:3], 1 - 1 / 2.8, atol=1e-9)


def test_exponents_are_drawn_over_their_parameters_with_intervals(ax):
    found = {r: dynamics.lyapunov(logistic(r), START, iterations=200, discard=200) for r in (4.0, 2.8)}
    figures.draw_lyapunov(ax, found, label="logistic")
    (bars,) = ax.containers
    line = bars.lines[0]
    assert line.get_xdata().tolist() == [2.8, 4.0]
    assert line.get_ydata()[0] == pytest.approx(np.log(0.8), abs=1e-6)
    segments = bars.lines[2][0].get_segments()
    assert segments[1][:, 1] == pytest.approx(found[4.0].intervals[0])
    assert ax.get_legend().texts[0].get_text() == "logistic"


def test_exponents_of_two_systems_differ_without_their_colours(ax):
    found = {2.8: dynamics.lyapunov(logistic(2.8), START, iterations=40)}
    for label in ("one", "other"):
        figures.draw_lyapunov(ax, found, label=label)
    one, other = (bars.lines[0] for bars in ax.containers)
    assert one.get_marker() != other.get_marker() and one.get_linestyle() != other.get_linestyle()
    assert one.get_color() != other.get_color()


def test_an_exponent_without_an_interval_is_drawn_without_bars(ax):
    pinned = dynamics.lyapunov(logistic(4.0), torch.tensor([0.5], dtype=torch.float64), iterations=40)
    figures.draw_lyapunov(ax, {4.0: pinned})
    (bars,) = ax.containers
    assert bars.lines[0].get_ydata() == pytest.approx([np.log(4)])
    (segment,) = bars.lines[2][0].get_segments() or [np.empty((0, 2))]
    assert not np.isfinite(segment).all() or not segment.size
    ax.figure.canvas.draw()


def test_a_recurrence_plot_shows_the_matrix(ax):
    found = dynamics.recurrence(np.sin(np.arange(40) / 3), rate=0.2)
    (image,) = figures.draw_recurrence(ax, found).images
    assert (image.get_array() == found.matrix).all()


def test_a_correlation_sum_shows_the_fitted_range(ax):
    points = np.random.default_rng(0).random((600, 2))
    found = dynamics.correlation_dimension(points)
    whole, fitted = figures.draw_correlation_sum(ax, found).lines
    assert (fitted.get_xdata()[0], fitted.get_xdata()[-1]) == pytest.approx(found.fit_range)
    assert len(whole.get_xdata()) == (found.sums > 0).sum() > len(fitted.get_xdata())
    slope = np.polyfit(np.log(fitted.get_xdata()), np.log(fitted.get_ydata()), 1)[0]
    assert slope == pytest.approx(found.value, abs=1e-6)
    assert f"slope {found.value:.2f}" in ax.get_legend().texts[0].get_text()
