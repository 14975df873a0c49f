"""`draw` of every kind of result, as its measure returns it and as its file gives it back."""

import dataclasses

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure
from measured_results import MEASURED, NOT_DRAWN

import denoscope as ds
from denoscope import figures
from denoscope.cli.output import write_json
from denoscope.dynamics.result import Result
from denoscope.dynamics.stored_result import from_dict, kinds
from denoscope.figures.figure_of import panels_of
from denoscope.foundation.json_values import as_json


def test_every_kind_of_result_is_measured_here():
    class Own(Result):
        """A user's result, whose name in a file must not be taken for one of the package."""

    kinds.cache_clear()
    assert Own.__name__ not in kinds()
    assert set(MEASURED) | NOT_DRAWN == set(kinds())


@pytest.mark.parametrize("kind", MEASURED)
def test_a_result_is_drawn_and_read_from_its_file(kind, tmp_path):
    result = MEASURED[kind]()
    assert type(result).__name__ == kind
    figure = figures.draw(result)
    assert isinstance(figure, Figure) and all(ax.has_data() for ax in figure.axes[: len(panels_of(result))])
    path = tmp_path / "result.json"
    write_json(path, {"computed_from": {"model": "digits"}, "measured": result.to_dict()})
    ((name, read),) = figures.read(path).items()
    assert name == "measured"
    for item in dataclasses.fields(result):
        check_equal(getattr(result, item.name), getattr(read, item.name), item.name, result.unstored)
    if "matrix" in result.unstored:
        with pytest.raises(ds.UserError, match="has no matrix"):
            figures.draw(read)
    else:
        assert [ax.get_xlabel() for ax in figures.draw(read).axes] == [ax.get_xlabel() for ax in figure.axes]


@pytest.mark.parametrize("kind", MEASURED)
def test_what_is_declared_of_the_rows_of_a_result_is_so(kind):
    """Fields whose rows are the same are equally long, and a field that names the rows is one of them."""
    result = MEASURED[kind]()
    lengths = {}
    for name, row in result.rows.items():
        if getattr(result, name) is not None:
            lengths.setdefault(row, set()).add(len(getattr(result, name)))
        assert result.rows.get(row, row) == row
    assert all(len(found) == 1 for found in lengths.values()), lengths
    arrays = {
        item.name for item in dataclasses.fields(result) if isinstance(getattr(result, item.name), np.ndarray)
    }
    assert set(result.rows) <= {item.name for item in dataclasses.fields(result)}
    assert arrays - set(result.rows) <= {
        "mixed_share",
        "mean",
        "points",
        "reached",
        "cycle",
        "matrix",
        "local_slopes",
    }


def bars(ax):
    return [bar.get_height() for bar in ax.patches]


def heights(ax, number=0):
    """The heights of a curve, or of points with bars."""
    return (ax.containers[number].lines[0] if ax.containers else ax.lines[number]).get_ydata()


def ends(ax, number=0):
    return [segment[:, 1] for segment in ax.containers[number].lines[2][0].get_segments()]


SHOWN = {
    "BasinEntropy": lambda ax, of: [(heights(ax), of.entropy), (ends(ax, 1), of.boundary_interval)],
    "BasinFractions": lambda ax, of: [(bars(ax), of.fractions), (ends(ax, 1), of.intervals)],
    "CovarianceSpectrum": lambda ax, of: [(heights(ax), of.eigenvalues[of.eigenvalues > 0])],
    "FixedPoints": lambda ax, of: [(bars(ax), [(of.reached == k).sum() for k in range(-1, len(of.points))])],
    "GaussianTheory": lambda ax, of: [(heights(ax, k), np.abs(of.gains[k])) for k in range(3)],
    "KaplanYorke": lambda ax, of: [(ax.containers[0].lines[0].get_xdata(), [of.value])],
    "Lyapunov": lambda ax, of: [(ax.lines[0].get_ydata(), of.history[:, 0]), (ends(ax), of.intervals[:1])],
    "Periodicity": lambda ax, of: [(heights(ax), of.returns), (ax.lines[1].get_xdata(), [of.period] * 2)],
    "Spectrum": lambda ax, of: [(heights(ax), of.exponents)],
    "Verdict": lambda ax, of: [
        (heights(ax), of.dimension.fit.local_slopes),
        (ends(ax), of.dimension.fit.local_intervals),
    ],
    "Wada": lambda ax, of: [
        (heights(ax), of.fractions),
        (ends(ax), of.intervals),
        (ax.lines[-1].get_ydata(), of.coarse_fractions),
    ],
    "ZeroOne": lambda ax, of: [(heights(ax), of.correlations), (ax.lines[1].get_ydata(), [of.value] * 2)],
}
"""What an axis shows beside what the result holds, for drawings without a test of their own."""


@pytest.mark.parametrize("kind", SHOWN)
def test_a_drawing_shows_the_numbers_of_its_result(kind):
    result = MEASURED[kind]()
    for shown, held in SHOWN[kind](figures.draw(result).axes[0], result):
        np.testing.assert_allclose(np.asarray(shown, float), np.asarray(held, float))


def test_a_patch_map_shows_the_mean_over_samples_of_each_cell():
    moved = np.array([[[0.0, 0.5], [1.0, np.nan]], [[np.nan, np.nan], [-0.5, 0.1]]])
    result = xarray.Dataset(
        {"moved": (("layer", "step", "sample"), moved)}, coords={"layer": ["a", "b"], "step": [0, 3]}
    )
    ax = figures.draw(result).axes[0]
    np.testing.assert_allclose(np.ma.filled(ax.images[0].get_array(), np.nan), [[0.25, 1.0], [np.nan, -0.2]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "3"]


def check_equal(one, other, name, unstored=()):
    """Compare a field with what its file gives back."""
    if name in unstored:
        assert other is None
    elif dataclasses.is_dataclass(one):
        for item in dataclasses.fields(one):
            check_equal(getattr(one, item.name), getattr(other, item.name), item.name)
    elif name == "origin":
        assert other == as_json(one)
    elif isinstance(one, dict):
        assert set(one) == set(other)
        for key, value in one.items():
            check_equal(value, other[key], key)
    else:
        assert type(other) is type(one)
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda content: content.pop("sums"), "lacks sums"),
        (lambda content: content.update(value="a"), "CorrelationDimension.value is 'a'; allowed: float"),
        (
            lambda content: content.update(sums=[[1], 2]),
            "CorrelationDimension.sums is .*; allowed: numbers in lists of equal",
        ),
        (
            lambda content: content.update(sums="none"),
            "CorrelationDimension.sums is 'none'; allowed: numbers in lists",
        ),
        (
            lambda content: content.update(sums=["a", "b"]),
            "CorrelationDimension.sums is .*; allowed: numbers in lists",
        ),
        (
            lambda content: content.update(fit_range=[1.0]),
            "CorrelationDimension.fit_range has 1 entries; allowed: 2",
        ),
        (lambda content: content.update(bound=True), "CorrelationDimension.bound is True; allowed: float"),
        (lambda content: content.update(fit_range=3), "CorrelationDimension.fit_range is 3; allowed: a list"),
        (lambda content: content.update(result="Other"), "holds no results"),
    ],
)
def test_a_damaged_file_is_refused(change, line, tmp_path):
    content = MEASURED["CorrelationDimension"]().to_dict()
    change(content)
    write_json(tmp_path / "result.json", content)
    with pytest.raises(ds.UserError, match=line):
        figures.read(tmp_path / "result.json")


def test_a_verdict_is_one_of_its_kinds():
    content = MEASURED["Verdict"]().to_dict()
    with pytest.raises(ds.UserError, match=r"Verdict\.verdict is 'sure'; allowed: .*undecided"):
        from_dict(content | {"verdict": "sure"})


def test_several_results_share_a_figure_with_a_panel_each():
    results = {name: MEASURED[name]() for name in ("Spectrum", "PathGeometry")}
    figure = figures.draw(results)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Spectrum", "PathGeometry", "PathGeometry"]
    with pytest.raises(
        ds.UserError, match="there are 13 panels to draw; allowed: 1 to 12; choose some of 0, 1, 2"
    ):
        figures.draw({str(k): results["Spectrum"] for k in range(13)})


@pytest.mark.parametrize(
    "other", [None, 3.0, "basins.npz", xarray.Dataset(), MEASURED["Verdict"]().nulls["straight"]]
)
def test_other_values_are_refused(other):
    with pytest.raises(
        ds.UserError, match=r"of which nothing is drawn; allowed: what a measure, basins\.map"
    ):
        figures.draw(other)
