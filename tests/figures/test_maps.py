"""Drawings of maps over a plane of noises."""

import numpy as np
import pytest
import xarray
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

import denoscope as ds
from denoscope import figures
from denoscope.config import SystemConfig
from denoscope.figures import plots


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_growth_is_drawn_around_the_coordinates_of_each_point(ax):
    u, v = np.array([-1.0, 0.0, 1.0]), np.array([10.0, 14.0])
    growth = np.arange(12.0).reshape(2, 3, 2)
    growth[1, 2] = np.nan
    found = xarray.Dataset(
        {"growth": (("y", "x", "direction"), growth)}, coords={"u": ("x", u), "v": ("y", v)}
    )
    assert figures.draw_growth(ax, found) is ax
    (mesh,) = ax.collections
    drawn, corners = mesh.get_array(), mesh.get_coordinates()
    for row in range(2):
        for column in range(3):
            around = corners[row : row + 2, column : column + 2].reshape(4, 2)
            np.testing.assert_allclose(around.mean(0), [u[column], v[row]])
            np.testing.assert_allclose(np.ptp(around, axis=0), [1.0, 4.0])
            value = growth[row, column, 0]
            assert np.ma.is_masked(drawn[row, column]) if np.isnan(value) else drawn[row, column] == value
    assert ax.get_xlabel().startswith("u") and ax.get_ylabel().startswith("v")
    assert [other.get_ylabel() for other in ax.figure.axes if other is not ax] == ["growth (ln, whole map)"]


def test_basins_are_drawn_paler_for_low_confidence_and_hatched_without_a_class(ax):
    label, confidence = np.array([[2, 2, 5], [2, 5, -1]]), np.array([[1, 0.5, 0.9], [0.2, 1, np.nan]])
    cells = {name: (("y", "x"), values) for name, values in (("label", label), ("confidence", confidence))}
    axes = {"u": ("x", np.array([-1.0, 0.0, 1.0])), "v": ("y", np.array([5.0, 7.0]))}
    found = xarray.Dataset(cells, coords=axes)
    assert figures.draw_basins(ax, found) is ax
    drawn = ax.images[0].get_array()
    assert ax.images[0].get_extent() == [-1.5, 1.5, 4.0, 8.0]
    assert (
        to_hex(drawn[0, 0]) == SystemConfig.class_colors[2]
        and drawn[1, 2, 3] == 0
        and (drawn[label >= 0, 3] == 1).all()
    )
    assert drawn[0, 0, :3].sum() < drawn[0, 1, :3].sum() < drawn[1, 0, :3].sum() < 3
    classes = ["2  (3)", "5  (2)", "no class  (1)"]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.texts] == classes
    assert legend.get_title().get_text() == "class (cells); shades:\nconfidence 0, 0.5, 1"
    swatches = np.array([patch.get_facecolor()[:3] for patch in legend.findobj(Rectangle)])
    assert (
        to_hex(swatches[2]) == SystemConfig.class_colors[2]
        and to_hex(swatches[5]) == SystemConfig.class_colors[5]
    )
    full = swatches[[2, 2, 5, 5]]
    np.testing.assert_allclose(swatches[[0, 1, 3, 4]], full + np.c_[[0.75, 0.375] * 2] * (1 - full))
    assert "L2 distance" in ax.get_xlabel() and not ax.get_title(loc="left")
    plain = plots.figure()[1]
    figures.draw_basins(plain, found.drop_vars("confidence"), colors=["#000000"] * 6)
    assert (plain.images[0].get_array()[label >= 0] == (0, 0, 0, 1)).all()
    assert [text.get_text() for text in plain.get_legend().texts] == classes
    assert len(plain.get_legend().findobj(Rectangle)) == len(classes)


def sign(images):
    return (images[:, 0, 0, 0] > 0).numpy().astype(int)


@pytest.mark.parametrize(("geometry", "length"), [("flat", "L2 distance"), ("spherical", "arc length")])
def test_a_plane_names_its_model_steps_and_geometry(tiny, geometry, length):
    plane = ds.noise.plane((3, 2), tiny.shape, lengths=(9.0, 9.0), geometry=geometry)
    found = ds.basins.map(tiny, plane, steps=2, classifier=sign)
    ax = figures.draw_basins(plots.figure()[1], found)
    assert ax.get_xlabel() == f"u  ({length})"
    assert ax.get_ylabel() == f"v  ({length})"
    assert ax.get_title(loc="left") == f"{tiny.name}, 2 steps, {geometry} plane"


def test_filled_cells_of_a_map_are_as_pale_as_the_nearest_computed_cell(ax):
    names = {
        "label": np.full((1, 5), 2),
        "confidence": np.array([[0.5, np.nan, np.nan, np.nan, 1.0]]),
        "status": np.array([[1, 2, 3, 3, 1]]),
    }
    cells = {name: (("y", "x"), values) for name, values in names.items()}
    axes = {"u": ("x", np.arange(5.0)), "v": ("y", np.zeros(1))}
    figures.draw_basins(ax, xarray.Dataset(cells, coords=axes))
    (row,) = ax.images[0].get_array()
    assert (
        np.array_equal(row[1], row[0])
        and np.array_equal(row[3], row[4])
        and to_hex(row[4]) == SystemConfig.class_colors[2]
    )
    assert to_hex(row[0]) != SystemConfig.class_colors[2] and np.isfinite(row).all()
