"""Planes of classes and of images: each cell is where its noise is."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from rendered_pixels import rendered

from denoscope import figures
from denoscope.config import SystemConfig
from denoscope.figures import plots, style
from denoscope.foundation.errors import UserError

COLORS = SystemConfig().class_colors


@pytest.mark.parametrize("shape", [(3, 4), (1, 5), (5, 1), (1, 1), (2, 30)])
def test_each_cell_has_its_class_colour_around_its_coordinates(shape):
    rows, columns = shape
    labels = np.random.default_rng(0).integers(0, 10, shape)
    u, v = np.linspace(-500, 1500, columns), np.linspace(30, 90, rows) * 10
    figure, ax = plots.figure()
    assert figures.draw_plane(ax, labels, u, v, colors=COLORS) is ax
    colour_at, (left, right, low, high) = rendered(figure, ax), ax.images[0].get_extent()
    beside = 0.4 * (right - left) / columns, 0.4 * (high - low) / rows  # in the middle the class may stand
    for y in range(rows):
        for x in range(columns):
            assert colour_at(u[x] + beside[0], v[y] + beside[1]) == COLORS[labels[y, x]]


def test_cells_are_centred_on_their_coordinates():
    _figure, ax = plots.figure()
    figures.draw_plane(
        ax, np.zeros((3, 5), dtype=int), np.arange(5) * 10.0, np.array([0.0, 4.0, 8.0]), colors=COLORS
    )
    assert ax.images[0].get_extent() == [-5.0, 45.0, -2.0, 10.0]
    assert ax.get_xlim() == (-5.0, 45.0) and ax.get_ylim() == (-2.0, 10.0)


def test_a_boundary_is_midway_between_two_cells():
    figure, ax = plots.figure()
    figures.draw_plane(ax, np.array([[1, 2]]), np.array([0.0, 100.0]), np.array([7.0]), colors=COLORS)
    colour_at = rendered(figure, ax)
    assert colour_at(48.0, 7.0) == COLORS[1]
    assert colour_at(52.0, 7.0) == COLORS[2]


def test_the_legend_counts_the_classes_present():
    labels = np.array([[3, 3, 7], [7, 7, -1]])
    figure, ax = plots.figure()
    figures.draw_plane(ax, labels, np.arange(3.0), np.arange(2.0), colors=COLORS, title="a plane")
    colour_at = rendered(figure, ax)
    entries = {
        text.get_text(): patch
        for text, patch in zip(ax.get_legend().texts, ax.get_legend().get_patches(), strict=True)
    }
    assert list(entries) == ["3  (2)", "7  (3)", "no class  (1)"]
    assert to_hex(entries["7  (3)"].get_facecolor()) == COLORS[7]
    around = {
        colour_at(2.0 + du, 1.0 + dv) for du in np.linspace(-0.4, 0.4, 9) for dv in np.linspace(-0.4, 0.4, 9)
    }
    assert style.UNKNOWN in around and len(around) > 1, "hatched"
    assert not around & set(COLORS)
    assert ax.get_title(loc="left") == "a plane"
    assert ax.get_xlabel().startswith("u") and ax.get_ylabel().startswith("v")


def test_wide_regions_carry_the_number_of_their_class():
    labels = np.full((64, 64), 3)
    labels[:, 40:] = 7
    labels[30:34, :] = 1  # too narrow for a number
    labels[:10, :10] = -1
    u, v = np.linspace(-1, 1, 64), np.linspace(10, 20, 64)
    _, ax = plots.figure("double")
    figures.draw_plane(ax, labels, u, v, colors=COLORS)
    named = [(int(text.get_text()), *text.get_position()) for text in ax.texts]
    assert sorted(label for label, _, _ in named) == [3, 3, 7, 7], "above and below the strip"
    for label, x, y in named:
        row, column = np.abs(v - y).argmin(), np.abs(u - x).argmin()
        around = labels[row - 4 : row + 5, column - 4 : column + 5]
        assert around.shape == (9, 9) and (around == label).all()


def test_less_certain_cells_are_paler():
    labels, certainty = np.array([[3, 3, 3], [7, 7, -1]]), np.array([[1.0, 0.5, 0.0], [1.0, 0.0, np.nan]])
    figure, ax = plots.figure()
    figures.draw_plane(ax, labels, np.arange(3.0), np.arange(2.0), colors=COLORS, certainty=certainty)
    colour_at = rendered(figure, ax)
    for (y, x), label in np.ndenumerate(labels):
        if label >= 0:
            full = np.array(to_rgb(COLORS[label]))
            share = 1 - 0.75 * (1 - certainty[y, x])
            expected = share * full + (1 - share)
            np.testing.assert_allclose(to_rgb(colour_at(x + 0.4, y + 0.4)), expected, atol=1.1 / 255)


@pytest.mark.parametrize(
    ("labels", "u", "v", "line"),
    [
        (
            np.zeros((2, 3), int),
            np.arange(2.0),
            np.arange(3.0),
            "one v for each row and one u for each column",
        ),
        (np.zeros((2, 3)), np.arange(3.0), np.arange(2.0), "allowed: integers"),
        (np.zeros(6, int), np.arange(3.0), np.arange(2.0), "allowed: integers"),
        (np.full((2, 3), 10), np.arange(3.0), np.arange(2.0), "labels go up to 10"),
        (
            np.zeros((2, 3), int),
            np.array([0.0, 1.0, 5.0]),
            np.arange(2.0),
            "u coordinates are not evenly spaced",
        ),
        (
            np.zeros((2, 3), int),
            np.arange(3.0),
            np.array([1.0, 0.0]),
            "v coordinates are not evenly spaced and ascending",
        ),
        (np.zeros((0, 3), int), np.arange(3.0), np.arange(0.0), "0 rows"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(labels, u, v, line):
    with pytest.raises(UserError, match=line):
        figures.draw_plane(plots.figure()[1], labels, u, v, colors=COLORS)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_upright_at_its_coordinates(channels):
    rows, columns = 3, 4
    u, v = np.linspace(-30, 30, columns), np.linspace(100, 300, rows)
    grid = torch.full((rows, columns, channels, 8, 8), -1.0)
    for y in range(rows):
        for x in range(columns):
            grid[y, x, :, :4] = (y * columns + x) / 11 * 2 - 1  # the upper half identifies the image
    figure, ax = plots.figure()
    figures.draw_images_plane(ax, grid, u, v)
    colour_at = rendered(figure, ax)
    for y in range(rows):
        for x in range(columns):
            shade = round((y * columns + x) / 11 * 255)
            assert colour_at(u[x], v[y] + 25) == to_hex((shade / 255,) * 3)
            assert colour_at(u[x], v[y] - 25) == "#000000"
    with pytest.raises(UserError, match=r"\[ny, nx, C, H, W\]"):
        figures.draw_images_plane(ax, grid[0], u, v)
