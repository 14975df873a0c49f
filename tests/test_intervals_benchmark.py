"""Every interval that a measure states has a measured coverage, and the simulation of coverage itself is right."""

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom

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


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the page: counts of its draws, and how it is judged there."""

    draws: int
    stated: int
    covered: int
    warned: int
    judgement: str


def rows() -> dict[str, Row]:
    """The rows of the table by the names of their cases. Percentages of 1,000 draws with one decimal are whole draws."""
    found = {}
    for line in PAGE.read_text().partition(MARK)[2].splitlines()[2:]:
        interval, system, _, draws, share, without, warned, judgement = line.strip("| ").split(" | ")
        assert draws == "1000"
        stated = 1000 - 10 * int(without)
        covered = round(float(share.split(" (")[0]) * stated / 100)
        found[f"{interval.strip('`')}: {system}"] = Row(1000, stated, covered, 10 * int(warned), judgement)
    return found


JUDGED = {"ok": 53, "ok, warned": 9, "wide": 23, "wide, warned": 4, "NARROW": 1, "narrow, warned": 6}
"""How many rows have each judgement; docs/intervals.md explains each row that is not ok."""


def test_the_page_has_a_row_for_each_case_and_counts_its_judgements():
    assert list(rows()) == list(all_cases())
    counts = Counter(row.judgement for row in rows().values())
    text = PAGE.read_text().partition(MARK)[0]
    stated = dict(re.findall(r"^\| ([a-zA-Z, ]+) \| .* \| (\d+) \|$", text, re.MULTILINE))
    assert counts == JUDGED == {name: int(count) for name, count in stated.items()}
    for start, wanted in {"ok, warned": 9, "wide": 27, "narrow": 7}.items():
        number = sum(count for name, count in counts.items() if name.lower().startswith(start))
        assert number == wanted and re.search(rf"\bIn {number} rows|\bin {number} rows", text)


@pytest.mark.parametrize(("name", "row"), rows().items())
def test_each_row_is_judged_by_its_own_figures(name, row):
    """By SciPy's intervals, and the bounds that the page states."""
    low, high = binomtest(row.covered, row.stated).proportion_ci(method="wilson")
    kind = "narrow" if high < 0.92 else "wide" if low > 0.98 else "ok"
    if kind == "narrow":
        assert row.judgement == ("narrow, warned" if row.warned >= 900 else "NARROW"), name
    else:
        assert row.judgement == (f"{kind}, warned" if row.warned > 50 else kind), name


UNLIKELY = 1e-3


def agrees(count: int, draws: int, of_page: int, draws_of_page: int) -> bool:
    """Whether a count among the first draws agrees with that of all draws, of which the page states it.

    The page rounds shares of warnings to whole percents, and a draw may turn out differently on another processor.
    """
    low, high = max(of_page - 5, 0), min(of_page + 5, draws_of_page)
    too_few = hypergeom.cdf(count, draws_of_page, low, draws) <= UNLIKELY
    too_many = hypergeom.sf(count - 1, draws_of_page, high, draws) <= UNLIKELY
    return not too_few and not too_many


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        (957, 0.957, False),
        (957, 0.85, True),
        (957, 1.0, True),
        (1000, 0.95, True),
        (805, 0.95, True),
        (1000, 1.0, False),
    ],
)
def test_a_change_of_the_judgement_shows_in_two_hundred_draws(before, after, seen):
    assert agrees(round(200 * after), 200, before, 1000) is not seen


@pytest.mark.slow
@pytest.mark.parametrize("name", list(all_cases()))
def test_intervals_are_as_the_page_judges_them(name):
    """If one is not, `make intervals` measures and judges it again, and the page must explain the new judgement."""
    found, row = measure(all_cases()[name], range(200)), rows()[name]
    assert agrees(found.covered, found.stated, row.covered, row.stated), (
        f"{found.covered} of {found.stated} hold"
    )
    assert agrees(found.warned, found.draws, row.warned, row.draws), f"{found.warned} warned"
    assert agrees(found.stated, found.draws, row.stated, row.draws), f"{found.stated} stated"
