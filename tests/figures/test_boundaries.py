"""Drawings of boundaries show the counts, shares and fitted lines measured."""

import numpy as np
import pytest

from denoscope import dynamics, figures
from denoscope.figures import plots
from denoscope.foundation.errors import UserError


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_box_counts_are_drawn_with_their_line(ax):
    y, x = np.mgrid[:80, :80]
    found = dynamics.boundary_dimension((3 * x + y > 150).astype(int), boxes=(3, 5, 9, 17))
    assert figures.draw_boundary_dimension(ax, found) is ax
    points, line = ax.lines
    np.testing.assert_array_equal(points.get_ydata(), found.fit.counts)
    slope = np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0]
    assert -slope == pytest.approx(found.value) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(np.log(points.get_ydata() / line.get_ydata()), found.fit.residuals, atol=1e-9)
    assert f"dimension {found.value:.2f}" in ax.get_legend().texts[0].get_text()


def test_uncertain_fractions_are_drawn_with_the_line_through_the_used_ones(ax):
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    found = dynamics.uncertainty_exponent(
        lambda p: (p[:, 0] > 0).astype(int), points, [0.05, 0.1, 0.2, 0.4, 50.0]
    )
    assert found.used.tolist() == [True] * 4 + [False]
    figures.draw_uncertainty(ax, found)
    used, unused = (bars.lines[0] for bars in ax.containers)
    np.testing.assert_array_equal(used.get_ydata(), found.fractions[:4])
    np.testing.assert_array_equal(unused.get_xdata(), [50.0])
    line = next(line for line in ax.lines if str(line.get_label()).startswith("exponent"))
    slope = np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0]
    assert slope == pytest.approx(found.value)


def test_a_boundary_without_a_dimension_is_refused(ax):
    plane = np.zeros((100, 100), int)
    plane[0, 0] = 1
    with pytest.raises(UserError, match="no dimension"):
        figures.draw_boundary_dimension(ax, dynamics.boundary_dimension(plane))


@pytest.mark.parametrize("name", [name for name in figures.__all__ if name.startswith("draw_")])
def test_swapped_and_wrong_arguments_are_refused_in_one_line(ax, name):
    further = {"draw_attention": [5], "draw_plane": [[0.0], [0.0]], "draw_images_plane": [[0.0], [0.0]]}
    named = {"draw_plane": {"colors": ["#000000"]}}
    for axis, result, argument in (
        (ax, 5, "result|state|spectra|weights|recording|images|sequence|labels"),
        ({"a": 1}, ax, "ax is"),
    ):
        with pytest.raises(UserError, match=argument) as refused:
            getattr(figures, name)(axis, result, *further.get(name, []), **named.get(name, {}))
        assert "\n" not in str(refused.value)


def test_the_package_shows_its_public_names():
    names = dir(figures)
    assert {"images", "plots"} <= set(names) == set(figures.__all__)
    others = {name for name in names if not name.startswith("draw_")}
    assert others == {
        "RefinementFrames",
        "draw",
        "images",
        "plots",
        "read",
        "save_refinement",
        "save_sequences",
        "save_zoom",
        "style",
    }


@pytest.mark.parametrize("module", [figures.plots, figures.images])
def test_the_modules_of_drawings_and_pictures_show_their_public_names(module):
    assert dir(module) == module.__all__
    public = [getattr(module, name) for name in dir(module)]
    assert all(value.__module__ == module.__name__ and value.__doc__ for value in public)
