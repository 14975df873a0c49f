"""Results in a terminal, in a notebook and as JSON."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from denoscope import dynamics
from denoscope.dynamics.result import Estimate, Result
from denoscope.foundation import html_repr


@dataclass(frozen=True, kw_only=True, eq=False)
class Slope(Estimate):
    radii: np.ndarray
    few: tuple[int, ...] = (1, 2)
    nested: dict | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Result):
    values: np.ndarray
    vectors: torch.Tensor
    label: str = "<b>"


ESTIMATE = Slope(
    value=1.23456,
    interval=(1.0, 1.5),
    radii=np.arange(20.0),
    nested={"a": 1},
    origin={"points": 200, "fingerprint": {"steps": 50}},
    warnings=("too few points & radii",),
)
MATRIX = Matrix(values=np.eye(8), vectors=torch.zeros(3, 2))


def test_a_repr_is_one_line_with_the_value_first():
    assert repr(ESTIMATE) == (
        "<Slope 1.235, interval=[1, 1.5], confidence=0.95, radii=float64 [20], few=[1, 2]; 1 warning>"
    )
    assert repr(MATRIX) == "<Matrix values=float64 [8, 8], vectors=float32 [3, 2], label=<b>>"


def test_a_long_repr_is_cut_after_a_field():
    wide = Slope(value=2.0, radii=np.array([1 / 3] * 4), few=(10**9,) * 4)
    assert (
        repr(wide) == "<Slope 2, interval=None, confidence=0.95, radii=[0.3333, 0.3333, 0.3333, 0.3333], …>"
    )
    wider = Matrix(values=np.eye(2), vectors=torch.zeros(1), label="x" * 200, warnings=("a", "b"))
    assert repr(wider) == "<Matrix values=float64 [2, 2], vectors=[0], …; 2 warnings>"


def test_a_notebook_shows_a_table_with_warnings_origin_and_a_picture():
    shown = ESTIMATE._repr_html_()
    for part in ("Slope", "1.235", "[1, 1.5]", "too few points &amp; radii", "points=200", "<svg"):
        assert part in shown
    assert "steps" not in shown, "nested values are left out"
    shown = MATRIX._repr_html_()
    assert "<img" in shown and "&lt;b&gt;" in shown and "<b>" not in shown
    assert "<svg" not in Estimate(value=1.0)._repr_html_()


def test_a_result_may_name_the_field_of_its_picture():
    found = dynamics.lyapunov(lambda x: 0.5 * x, torch.ones(2).double(), iterations=40)
    assert html_repr.sparkline(found.history[:, 0]) in found._repr_html_()


def test_json_holds_all_numbers_and_null_for_those_that_are_not_finite():
    stored = json.loads(Slope(value=float("nan"), radii=np.array([1.0, np.inf])).to_json())
    assert stored["value"] is None and stored["radii"] == [1.0, None] and stored["origin"] == {}
    assert float(ESTIMATE) == 1.23456


@pytest.mark.parametrize(
    "measure",
    [
        lambda: dynamics.lyapunov(lambda x: 0.5 * x, torch.ones(1).double(), iterations=40),
        lambda: dynamics.zero_one(np.random.default_rng(0).normal(size=300)),
        lambda: dynamics.recurrence(np.random.default_rng(0).normal(size=50)),
        lambda: dynamics.boundary_dimension(np.tri(60, dtype=int)),
        lambda: dynamics.verdict(np.tri(60, dtype=int)),
        lambda: dynamics.basin_entropy(np.tri(60, dtype=int)),
        lambda: dynamics.path_geometry(np.random.default_rng(0).normal(size=(3, 6, 2))),
    ],
)
def test_every_result_has_a_line_and_a_table(measure):
    found = measure()
    assert repr(found).startswith(f"<{type(found).__name__} ") and "\n" not in repr(found)
    assert len(repr(found)) <= 120 and found._repr_html_().count("<table>") == 1
    json.loads(found.to_json())
