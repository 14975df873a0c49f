"""Drawings of when images are decided: bars, lines and bands show the numbers measured."""

import math

import numpy as np
import pytest
import torch
import xarray
from analytic import ddim_factors, gaussian, levels, scheduler_of, timesteps

from denoscope import dynamics, figures
from denoscope.dynamics.trajectories.speciation import Speciation
from denoscope.figures import plots
from denoscope.foundation.errors import UserError

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


def test_commitment_is_drawn_as_bars_with_the_share_decided_by_then(ax, committed):
    assert figures.draw_commitment(ax, committed, level=LEVEL) is ax
    assert [bar.get_height() for bar in ax.patches] == [0.25, 0.5, 0, 0.25], (
        "the last bar: not even in the end"
    )
    decided, mark = ax.lines
    assert list(decided.get_ydata()) == [0.25, 0.75, 0.75] and list(mark.get_xdata()) == [1.5, 1.5]
    assert ax.figure.axes == [ax], "no second axis"


def test_entropy_is_drawn_over_decreasing_noise_levels(ax, committed):
    figures.draw_entropy(ax, committed, level=LEVEL)
    line, mark = ax.lines
    assert list(line.get_xdata()) == [9.0, 2.0, 0.5] and list(line.get_ydata()) == [0.2, 1.0, 0.9]
    assert ax.xaxis_inverted() and ax.get_xscale() == "log" and mark.get_xdata()[0] == 2.5


def test_a_u_turn_is_drawn_over_the_level_with_its_interval(ax):
    found = xarray.Dataset(
        {"probability": ("level", [0.2, 1.0]), "interval": (("level", "end"), [[0.1, 0.4], [0.9, 1.0]])},
        coords={"level": [0.8, 0.2], "sigma": ("level", [8.0, 0.5])},
    )
    assert figures.draw_u_turn(ax, found) is ax
    (line,) = ax.lines
    assert list(line.get_xdata()) == [0.5, 8.0] and list(line.get_ydata()) == [1.0, 0.2]
    assert ax.xaxis_inverted(), "as of the entropy"
    (band,) = ax.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(9).tolist()}
    assert {(0.5, 0.9), (0.5, 1.0), (8.0, 0.1), (8.0, 0.4)} <= corners


VALUES, STEPS = torch.tensor([4.0, 1.0, 0.2]).double(), 10


def turned(images, draws):
    """U-turns of Gaussian images through the DDIM of diffusers, with the perfect network for them."""
    numbers = torch.Generator().manual_seed(0)
    x_0 = torch.randn(images, 1, 1, 3, dtype=torch.float64, generator=numbers) * VALUES.sqrt()
    return dynamics.u_turn(gaussian(VALUES), x_0, [0.2, 0.5, 1.0], draws=draws, steps=STEPS, lanes=8,
                           label_of=lambda images: torch.zeros(len(images)).long())  # fmt: skip


def closed_form(step):
    """The distance √(Σ (G √ᾱ − 1)² λ + G² (1 − ᾱ)), where G is the product of the remaining factors, and σ."""
    level = levels(scheduler_of("ddim"))[timesteps(STEPS)[step]]
    gains = np.array([ddim_factors(float(value), STEPS)[step:].prod() for value in VALUES])
    squared = ((gains * math.sqrt(level) - 1) ** 2 * VALUES.numpy() + gains**2 * (1 - level)).sum()
    return math.sqrt(squared), math.sqrt((1 - level) / level)


@pytest.mark.slow
def test_measured_turn_distances_agree_with_the_drawn_theory(ax):
    turns = turned(images=150, draws=8)
    theory = dynamics.gaussian_theory(gaussian(VALUES), VALUES, steps=STEPS)
    assert figures.draw_turn_distance(ax, turns, theory=theory, level=LEVEL) is ax
    measured, line, mark = ax.lines
    expected, sigmas = np.array([closed_form(step) for step in range(STEPS)]).T
    np.testing.assert_allclose(line.get_xdata(), sigmas, rtol=1e-5)
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
    assert list(mark.get_xdata()) == [2.5, 2.5] and ax.xaxis_inverted() and ax.get_xscale() == "log"
    # From the lowest level to the highest: 2, 5 and all of 10 steps.
    np.testing.assert_allclose(measured.get_xdata(), sigmas[[8, 5, 0]], rtol=1e-5)
    expected, squares = expected[[8, 5, 0]], turns["distance"].to_numpy() ** 2
    errors = squares.std(0, ddof=1) / math.sqrt(len(squares)) / (2 * expected)
    assert (np.abs(measured.get_ydata() - expected) < 3 * errors).all()
    assert (errors < 0.04 * expected).all(), "or anything would lie on it"
    low, high = turns["turn_distance_interval"].to_numpy().T
    np.testing.assert_allclose((high - low) / 2 / 1.96, errors, rtol=0.15)
    (band,) = ax.collections
    assert {*low.round(9), *high.round(9)} <= set(band.get_paths()[0].vertices[:, 1].round(9))


@pytest.mark.parametrize(
    ("kind", "steps", "line"),
    [
        ("ddpm", STEPS, "steps of its scheduler add noise of their own; take DDIM"),
        ("ddim", 5, "theory has 5 steps, at other noise levels"),
        ("ddim", 50, "theory has 50 steps, at other noise levels"),
    ],
)
def test_a_theory_that_does_not_fit_is_refused(ax, kind, steps, line):
    turns = turned(images=2, draws=2)
    theory = dynamics.gaussian_theory(gaussian(VALUES, kind), VALUES, steps=steps)
    with pytest.raises(UserError, match=line):
        figures.draw_turn_distance(ax, turns, theory=theory)


def test_the_name_of_the_level_overlaps_nothing(committed):
    for draw in (figures.draw_commitment, figures.draw_entropy):
        figure, axis = plots.figure()
        draw(axis, committed, level=LEVEL)
        figure.draw_without_rendering()
        (name,) = axis.texts
        assert name.get_text() == "speciation" and name.get_window_extent().y0 >= axis.bbox.y1


def test_a_level_outside_the_schedule_is_not_marked(ax, committed):
    figures.draw_commitment(ax, committed, level=Speciation(sigma=1e9, alpha_cumprod=1e-18, step=None))
    assert len(ax.lines) == 1 and len(ax.patches) == 4
