"""Every interval that a measure states has a measured coverage, and the simulation of coverage itself is right."""

import ast
import dataclasses
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.intervals.__main__ import HEAD, MARK, PAGE, RANGES, all_cases, coverages, page
from benchmarks.intervals.case import Case, Coverage, Draw, measure
from denoscope import dynamics

CHEAP = ("BasinFractions.intervals: 80 independent draws", "commitment_of.decided_interval: 40 samples")


def _fields():
    """The intervals among the fields of all dataclasses of measures, as "Class.field"."""
    for module in pkgutil.walk_packages(dynamics.__path__, "denoscope.dynamics."):
        for kind in vars(importlib.import_module(module.name)).values():
            is_own = (
                isinstance(kind, type) and kind.__module__ == module.name and kind is not dynamics.Estimate
            )
            if is_own and dataclasses.is_dataclass(kind):
                yield from (
                    f"{kind.__name__}.{f.name}" for f in dataclasses.fields(kind) if "interval" in f.name
                )


def _variables():
    """The intervals among the variables of datasets that measures make, as "module.variable"."""
    for path in Path(dynamics.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [
                    key.value
                    for key, value in zip(node.keys, node.values, strict=True)
                    # Texts are names of dimensions, not values.
                    if isinstance(key, ast.Constant) and not isinstance(value, ast.Constant)
                ]
                if isinstance(node, ast.Dict)
                else []
            )
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "assign"
            ):
                names = [keyword.arg for keyword in node.keywords]
            yield from (f"{path.stem}.{name}" for name in names if name and "interval" in str(name))


def test_every_stated_interval_has_a_measured_coverage():
    stated = {*_fields(), *_variables()} - {"_Entropies.entropy_interval", "_Entropies.boundary_interval"}
    assert {
        "BoxFit.interval",
        "ZeroOne.interval",
        "u_turn.interval",
        "commitment_of.decided_interval",
    } <= stated
    measured = {case.interval for case in all_cases().values()}
    assert stated - {"Verdict.dimension"} == measured | RANGES.keys()
    table = PAGE.read_text().partition(MARK)[2]
    if table:
        assert {line.split("`")[1] for line in table.splitlines()[2:]} == measured


def test_coverage_counts_the_draws_that_contain_the_truth():
    ends = [(0, 1), (0.4, 0.6), (0.6, 1), None, (np.nan, np.nan)]
    case = Case("a", "b", "c", lambda rng: Draw(ends[int(rng.integers(5))], 0.5, warned=True))
    drawn = [case.drawn(index).ends for index in range(40)]
    found = measure(case, range(40))
    assert (found.draws, found.warned) == (40, 40)
    assert found.stated == sum(one in ends[:3] for one in drawn) < 40
    assert found.covered == sum(one in ends[:2] for one in drawn) > 0


@pytest.mark.parametrize(
    ("covered", "warned", "judgement"),
    [
        (950, 0, "ok"),
        (950, 51, "ok, warned"),
        (890, 0, "NARROW"),
        (890, 899, "NARROW"),
        (890, 900, "narrow, warned"),
        (1000, 0, "wide"),
        (995, 100, "wide, warned"),
    ],
)
def test_a_row_says_whether_the_interval_keeps_its_promise(covered, warned, judgement):
    found = Coverage(Case("a", "b", "c", None), 1000, 1000, covered, warned, 1.0)
    assert found.judgement == judgement
    assert len(found.row().split(" | ")) == len(HEAD.splitlines()[0].split(" | "))


def test_the_page_keeps_its_text_and_replaces_its_table():
    found = [Coverage(Case("a", "b", "c", None), 10, 0, 0, 0, 1.0)]
    once = page(f"# Text\n\n{MARK}", found)
    assert once == page(once, found) and once.startswith("# Text\n")
    assert "no interval" in once


def test_processes_do_not_change_the_draws():
    one, two = ([found.covered for found in coverages(CHEAP, 12, processes)] for processes in (1, 2))
    assert one == two == [measure(all_cases()[name], range(12)).covered for name in CHEAP]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(all_cases()))
def test_intervals_are_not_narrow_without_a_warning(name):
    case = all_cases()[name]
    found = measure(case, range(40))
    assert found.judgement != "NARROW"
