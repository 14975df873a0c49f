"""Figures of files: what can be drawn is drawn, and what cannot is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from measured_results import MEASURED

import denoscope as ds
from denoscope.cli.output import write_json
from denoscope.dynamics.stored_result import from_dict, kind_of, kinds
from denoscope.figures.stored_figure import draw_stored

NUMBERS = Path(__file__).parents[1] / "fixtures/b8ac056/numbers"
"""Files of an early version, which do not name the kinds of their results."""


def spectra(count):
    return {f"noise_{k:04d}": MEASURED["Spectrum"]() for k in range(count)}


@pytest.mark.parametrize("count", [1, 12, 13, 30])
def test_the_first_twelve_panels_are_drawn_and_the_others_named(count):
    drawn = draw_stored(spectra(count), "spectra.json")
    titles = [ax.get_title(loc="left") for ax in drawn.figure.axes]
    assert titles == [f"noise_{k:04d}" for k in range(min(count, 12))]
    if count > 12:
        (line,) = drawn.left_out
        assert f"{count - 12} panel" in line and "noise_0012" in line
    else:
        assert drawn.left_out == ()


def test_a_result_that_cannot_be_drawn_leaves_the_others():
    """A file of a recurrence lacks its matrix; numbers of a damaged one do not fit together."""
    content = MEASURED["CorrelationDimension"]().to_dict()
    odd = from_dict(content | {"sums": content["sums"][:-3]})
    recurrence = from_dict(MEASURED["Recurrence"]().to_dict())
    results = {"recurrence": recurrence, "period": MEASURED["Periodicity"](), "odd": odd}
    drawn = draw_stored(results, "orbit.json")
    (ax,) = drawn.figure.axes
    assert ax.get_title(loc="left") == "period"
    first, second = drawn.left_out
    assert first.startswith("recurrence: ") and "has no matrix" in first
    assert second.startswith("odd: orbit.json cannot be drawn, since its numbers do not fit: ")
    with pytest.raises(
        ds.UserError, match=r"recurrence: .* has no matrix.*; odd: orbit\.json cannot be drawn"
    ):
        draw_stored({"recurrence": recurrence, "odd": odd}, "orbit.json")


def test_a_recording_of_which_nothing_can_be_read_is_refused_for_one_reason(digits, tmp_path):
    ds.record(digits, ds.noise.random(2, digits.shape), tmp_path / "cut.zarr", steps=2, layers="conv_in")
    for path in (tmp_path / "cut.zarr").rglob("c/**/*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ds.UserError, match="denoscope verify store") as refused:
        draw_stored(ds.open(tmp_path / "cut.zarr"), "cut.zarr")
    assert str(refused.value).count("verify store") == 1


@pytest.mark.parametrize("kind", sorted(set(MEASURED)))
def test_values_without_the_name_of_their_kind_are_known_by_their_fields(kind):
    content = MEASURED[kind]().to_dict()
    del content["result"]
    # An estimate of one number has the fields of its base class alone.
    expected = "Estimate" if kind == "KaplanYorke" else kind
    assert kind_of(content) is kinds()[expected]
    assert kind_of(content | {"computed_from": {}, "samples": ["a"]}) is kinds()[expected]
    assert kind_of(content | {"result": "Other"}) is None


def test_files_of_an_early_version_are_drawn():
    for name, kind in (("distances", "TrajectoryDistances"), ("expansion", "LocalExpansion"), ("similarity", "SimilarityMatrix")):  # fmt: skip
        content = json.loads((NUMBERS / f"{name}.json").read_text())
        ((key, read),) = ds.figures.read(NUMBERS / f"{name}.json").items()
        assert key == "" and type(read).__name__ == kind
        field = "rates" if kind == "LocalExpansion" else "values"
        np.testing.assert_array_equal(getattr(read, field), np.array(content[field], float))
        assert ds.figures.draw(read).axes[0].has_data()
    assert set(ds.figures.read(NUMBERS / "fractions.json")) == {"fractions", "dimension", "entropy", "wada"}


def test_a_result_of_which_an_early_version_kept_less_is_named(caplog):
    """Participation has intervals of the corrected ratio now, and a verdict the one that a map shows."""
    assert set(ds.figures.read(NUMBERS / "geometry.json")) == {"path"}
    assert "participation was written by another version" in caplog.text and "compute it again" in caplog.text
    with pytest.raises(
        ds.UserError, match=r"verdict\.json holds no results; it was written by another version"
    ):
        ds.figures.read(NUMBERS / "verdict.json")


def test_the_command_draws_what_it_can_and_says_what_it_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "spectra.json", {name: result.to_dict() for name, result in spectra(14).items()})
    call("plot spectra.json --output spectra.svg")
    assert "not drawn: only the first 12 panels" in capsys.readouterr().err
    text = (tmp_path / "spectra.svg").read_text()
    assert "noise_0011" in text and "noise_0012" not in text
