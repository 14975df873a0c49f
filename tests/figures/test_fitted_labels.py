"""Texts of figures do not overlap: measured in the pixels of the drawn figure."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import xarray
from measured_results import MEASURED

import denoscope as ds
from denoscope import figures
from denoscope.figures import plots, style, ticks

NUMBERS = Path(__file__).parents[1] / "fixtures/b8ac056/numbers"


def shown_texts(ax):
    """The texts of an axis that are not empty, without the letters of panels."""
    titles = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, ax.xaxis.get_offset_text()]
    ticks = []
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            ticks += [tick.label1] if low <= tick.get_loc() <= high else []
    return [text for text in [*titles, *ticks] if text.get_text() and text.get_visible()]


def overlaps(figure):
    """The pairs of texts of a figure that overlap."""
    figure.draw_without_rendering()
    texts = [text for ax in figure.axes for text in shown_texts(ax)]
    boxes = [text.get_window_extent() for text in texts]
    pairs = itertools.combinations(range(len(texts)), 2)
    return [
        (texts[one].get_text(), texts[other].get_text())
        for one, other in pairs
        if overlap(boxes[one], boxes[other])
    ]


def overlap(one, other):
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1 and height > 1


@pytest.mark.parametrize("count", [2, 3, 5, 12])
@pytest.mark.parametrize("name", ["a", "set_0042_pert_003_eps_0.0100", 30 * "long name ", 300 * "x"])
def test_names_and_labels_of_panels_do_not_overlap(name, count):
    kinds = ("PathGeometry", "Participation", "Spectrum", "GaussianTheory", "Periodicity")
    results = {
        f"{k} {name}": MEASURED[kind]() for k, kind in zip(range(count), itertools.cycle(kinds), strict=False)
    }
    if sum(kind == "PathGeometry" for kind in itertools.islice(itertools.cycle(kinds), count)) + count > 12:
        results = dict(itertools.islice(results.items(), 9))
    figure = figures.draw(results)
    assert overlaps(figure) == []
    for ax in figure.axes:
        assert ax._left_title.get_text().count("\n") <= 1


@pytest.mark.parametrize(
    "ends", [(0.9, 1.1), (0.3, 8), (0.38, 7.3), (1, 9), (0.01, 50), (1e-4, 1), (1e-13, 10)]
)
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_ticks_of_logarithmic_axes_do_not_overlap(ends, columns):
    """Also where an axis spans little more than a decade, where matplotlib labels the ticks between powers of ten."""
    figure, axes = plots.figure("single" if columns == 1 else "double", columns=columns)
    for ax in np.atleast_1d(axes):
        ax.plot(np.geomspace(*ends, 9), np.arange(9))
        ticks.logarithmic(ax, "x")
        ax.set_xlabel("noise level")
    assert overlaps(figure) == []


@pytest.mark.parametrize("side", [0.01, 0.00123, 123e-6, 3e-9, 60, 12345, 4e7])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_numbers_below_a_plane_do_not_touch(side, columns):
    """At least two numbers are left, also below small panels of planes with long coordinates."""
    x = np.linspace(-side / 2, side / 2, 16)
    label = (np.add.outer(x, x) > 0).astype(int)
    plane = xarray.Dataset({"label": (("v", "u"), label)}, coords={"u": x, "v": x})
    figure = figures.draw({str(k): plane for k in range(columns)})
    for ax in figure.axes[:columns]:
        ends = [text.get_window_extent() for text in shown_texts(ax) if text in ax.get_xticklabels()]
        assert len(ends) >= 2
        assert all(one.x1 + 3 < other.x0 for one, other in itertools.pairwise(ends))
    assert overlaps(figure) == []


def test_many_curves_differ_in_colour_or_dashes():
    looks = [(color, str(dashes)) for color, dashes in map(style.look, range(49))]
    assert len(set(looks)) == 49
    result = dataclasses.replace(MEASURED["LocalExpansion"](), rates=np.arange(48.0).reshape(4, 12))
    _, ax = plots.figure()
    with style.context():
        figures.draw_expansion(ax, result)
    curves = ax.get_lines()[:12]
    assert len({(curve.get_color(), str(curve._unscaled_dash_pattern)) for curve in curves}) == 12


def test_a_legend_lies_beside_bars_where_there_is_room():
    """Bars from the bottom at the left, points at the right: the middle and the top are free."""
    result = MEASURED["UncertaintyExponent"]()
    few = dataclasses.replace(
        result,
        value=1.0,
        interval=(0.5, 1.5),
        epsilons=np.array([0.1, 0.3, 1, 3, 10]),
        fractions=np.array([0.0, 0.0, 0.0, 0.007, 0.01]),
        fraction_intervals=np.array([[0, 0.013], [0, 0.013], [0, 0.013], [0.002, 0.024], [0.003, 0.03]]),
        used=np.array([False, False, True, True, True]),
        residuals=np.array([np.nan, np.nan, np.nan, 0.1, -0.1]),
        unrelated=0.8,
    )
    figure, ax = plots.figure()
    figures.draw_uncertainty(ax, few)  # warns of no logarithm of 0
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    bars = [path.vertices for bar in ax.containers for part in bar.lines[2] for path in part.get_paths()]
    assert len(bars) == 5
    for ends in bars:
        low, high = ax.transData.transform(np.maximum(ends, 1e-9))
        assert not (legend.x0 < low[0] < legend.x1 and low[1] < legend.y1 and legend.y0 < high[1])


@pytest.mark.parametrize(("file", "names"), [("similarity.json", "sets"), ("distances.json", "samples")])
def test_matrices_carry_the_names_that_a_file_holds(file, names):
    """Also files of an early version."""
    expected = json.loads((NUMBERS / file).read_text())[names]
    (ax, _) = figures.draw(figures.read(NUMBERS / file)).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == expected


def test_results_keep_the_names_of_sets_and_samples():
    paths = np.random.default_rng(0).normal(size=(30, 3, 5))
    names = [f"sample {k}" for k in range(30)]
    trajectories = xarray.DataArray(paths, dims=("sample", "state", "x"), coords={"sample": names})
    found = ds.dynamics.trajectory_distances(trajectories)
    assert list(found.samples) == names and ds.dynamics.trajectory_distances(paths).samples == ()
    (ax, _) = figures.draw(found).axes
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert len(ticks) == 24 and (ticks[0], ticks[-1]) == ("sample 0", "sample 29")
    sets = ds.dynamics.cka_matrix(list(paths.transpose(1, 0, 2)), names=["a", 100 * "b", "c"])
    assert sets.sets == ("a", 100 * "b", "c")
    (ax, _) = figures.draw(sets).axes
    assert [len(label.get_text()) for label in ax.get_xticklabels()] == [1, 24, 1]
    with pytest.raises(ds.UserError, match="names has 1 entries; allowed: 3"):
        ds.dynamics.cka_matrix(list(paths.transpose(1, 0, 2)), names=["a"])


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["DDPM, common noise, Gaussian data"], [*"abcdefg"]])
def test_the_names_of_many_curves_and_long_ones_stand_below_the_axis(names, columns):
    """Nothing is drawn below them, and they cover neither curves nor the label of the axis."""
    figure, axes = plots.figure("double" if columns > 1 else "single", columns=columns)
    for ax in np.atleast_1d(axes).flat:
        for number, name in enumerate(names):
            ax.plot([0, 1], [number, 0], label=name)
        ax.set_xlabel("denoising step")
        style.legend(ax)
    figure.draw_without_rendering()
    for ax in np.atleast_1d(axes).flat:
        named = ax.get_legend().get_window_extent()
        inside = (len(names) == 1 and columns == 1) or (
            len(names) == 7 and columns == 3
        )  # there is room, or none below
        assert inside or (named.y1 < ax.bbox.y0 and not overlap(named, ax.xaxis.label.get_window_extent()))
        assert ax.bbox.height > 50, "the curves are still seen"
