"""Simulate the coverage of every stated interval, and write the table of the documentation: `make intervals`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from benchmarks.intervals import orbits, planes, samples, zooms
from benchmarks.intervals.case import DRAWS, Case, Coverage, measure

PAGE = Path(__file__).parents[2] / "docs" / "intervals.md"
MARK = "<!-- written by make intervals -->\n"
HEAD = """\
| interval | system | truth | draws | contain it, % (95 % interval) | none, % | warned, % | judgement |
|---|---|---|---|---|---|---|---|
"""
PIECES = 4
"""Pieces of each case, which processes take in turn."""
RANGES = {
    "BasinEntropy.entropy_interval": "the range over shifted tilings",
    "BasinEntropy.boundary_interval": "the range over shifted tilings",
}
"""Stated intervals that are no confidence intervals, and what they are."""


@dataclass(frozen=True)
class Options:
    """How much is simulated."""

    only: str = ""
    """Part of the names of the cases to simulate; the documentation is written only if all are."""
    draws: int = DRAWS
    processes: int = os.cpu_count() or 1
    page: Path = PAGE


@cache
def all_cases() -> dict[str, Case]:
    """All cases by name."""
    found = [*planes.cases(), *zooms.cases(), *orbits.cases(), *samples.cases()]
    names = {case.name: case for case in found}
    assert len(names) == len(found), "two cases have the same name"
    return names


def coverages(names: Sequence[str], draws: int, processes: int) -> Iterator[Coverage]:
    """The coverage of each case, as soon as it is known; the same for any number of processes."""
    with ProcessPoolExecutor(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending = {
            name: [pool.submit(_piece, name, range(start, draws, PIECES)) for start in range(PIECES)]
            for name in names
        }
        for name, pieces in pending.items():
            yield _together(all_cases()[name], [piece.result() for piece in pieces])


def _piece(name: str, indices: Sequence[int]) -> tuple[int, int, int, int, float]:
    found = measure(all_cases()[name], indices)
    return found.draws, found.stated, found.covered, found.warned, found.seconds


def _together(case: Case, pieces: Sequence[tuple[int, int, int, int, float]]) -> Coverage:
    draws, stated, covered, warned, seconds = map(sum, zip(*pieces, strict=True))
    return Coverage(case, int(draws), int(stated), int(covered), int(warned), seconds)


def page(text: str, found: Sequence[Coverage]) -> str:
    """The page with the table, and what comes before it left as it is."""
    return text[: text.index(MARK)] + MARK + HEAD + "\n".join(one.row() for one in found) + "\n"


def main(options: Options, report: Callable[[str], None] = print) -> None:
    names = [name for name in all_cases() if options.only in name]
    found = []
    for one in coverages(names, options.draws, options.processes):
        found.append(one)
        report(f"{one.row()}  {one.seconds:.0f} s")
    if not options.only:
        options.page.write_text(page(options.page.read_text(), found))
    report(f"{sum(one.draws for one in found)} intervals, {sum(one.seconds for one in found):.0f} s of CPU")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
