"""Drawings of when images are decided: bars, lines and bands are the numbers measured."""

import pytest
import xarray

from denoscope import dynamics, plots
from denoscope.dynamics.speciation import Speciation

LEVEL = Speciation(sigma=2.5, alpha_cumprod=0.1, step=1.5)


@pytest.fixture
def ax():
    return plots.figure()[1]


@pytest.fixture
def committed():
    return xarray.Dataset(
        {
            "commitment_step": ("sample", [0, 1, 1, 3]),
            "decided": ("step", [0.25, 0.75, 0.75]),
            "decided_interval": (("step", "end"), [[0.1, 0.4], [0.5, 0.9], [0.5, 0.9]]),
            "entropy": ("step", [0.2, 1.0, 0.9]),
        },
        coords={"step": [0, 1, 2], "sigma": ("step", [9.0, 2.0, 0.5])},
    )


def test_commitment_is_a_bar_a_step_and_the_share_so_far(ax, committed):
    assert dynamics.draw_commitment(ax, committed, level=LEVEL) is ax
    assert [bar.get_height() for bar in ax.patches] == [1, 2, 0, 1], "the last bar: not even in the end"
    (mark,), (beside,) = ax.lines, [other for other in ax.figure.axes if other is not ax]
    assert list(beside.lines[0].get_ydata()) == [0.25, 0.75, 0.75] and list(mark.get_xdata()) == [1.5, 1.5]


def test_entropy_stands_over_noise_levels_that_fall(ax, committed):
    dynamics.draw_entropy(ax, committed, level=LEVEL)
    line, mark = ax.lines
    assert list(line.get_xdata()) == [9.0, 2.0, 0.5] and list(line.get_ydata()) == [0.2, 1.0, 0.9]
    assert ax.xaxis_inverted() and ax.get_xscale() == "log" and mark.get_xdata()[0] == 2.5


def test_a_u_turn_is_drawn_by_level_with_its_interval(ax):
    found = xarray.Dataset(
        {"probability": ("level", [0.2, 1.0]), "interval": (("level", "end"), [[0.1, 0.4], [0.9, 1.0]])},
        coords={"level": [0.8, 0.2], "sigma": ("level", [8.0, 0.5])},
    )
    assert dynamics.draw_u_turn(ax, found) is ax
    (line,) = ax.lines
    assert list(line.get_xdata()) == [0.5, 8.0] and list(line.get_ydata()) == [1.0, 0.2]
    assert ax.xaxis_inverted(), "as of the entropy"
    (band,) = ax.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(9).tolist()}
    assert {(0.5, 0.9), (0.5, 1.0), (8.0, 0.1), (8.0, 0.4)} <= corners


def test_a_level_outside_of_the_schedule_is_not_marked(ax, committed):
    dynamics.draw_commitment(ax, committed, level=Speciation(sigma=1e9, alpha_cumprod=1e-18, step=None))
    assert not ax.lines and len(ax.patches) == 4
