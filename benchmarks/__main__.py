"""Print what recording costs, and whether it stays within its bars: `make bench`."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from benchmarks import basins, cluster, derivatives, explorer, measure, reading
from benchmarks.bar import Bar
from benchmarks.ways import WAYS, Outcome, Work

MEMORY = {
    "steps": (Work("", 64, 50, True), Work("", 64, 1000, True)),
    "samples": (Work("", 64, 50, True), Work("", 1000, 50, True)),
}


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    samples: int = 64
    steps: int = 50
    repeats: int = 5
    ways: tuple[str, ...] = tuple(WAYS)
    memory: bool = True
    """Also peak memory over steps and samples, on a tiny network."""
    dynamics: bool = True
    """Also what derivatives of the denoising map and measures of a recording cost."""
    maps: tuple[int, ...] = (256,)
    """Also what adaptive maps of so many cells along each axis cost beside every cell; on two cores 256 take 30 minutes."""
    explorer: bool = False
    """Also how long the explorer lets its user wait, in Chromium."""
    cluster: bool = False
    """Also what sharing a recording between two workers costs; a quarter of an hour."""


def table(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """One line a way: time, ratio to the bare loop, rate and peak memory."""
    reference = outcomes["bare"].seconds if "bare" in outcomes else float("nan")
    yield f"{'way':<18}{'time s':>9}{'÷ bare':>9}{'MB/s':>9}{'MB':>9}{'peak MB':>9}"
    for way, outcome in outcomes.items():
        megabytes = outcome.bytes / 1e6
        notes = "".join(f"  {name} {value:.1f} s apart" for name, value in outcome.notes.items())
        yield (
            f"{way:<18}{outcome.seconds:>9.2f}{outcome.seconds / reference:>9.3f}"
            f"{megabytes / outcome.seconds:>9.1f}{megabytes:>9.1f}{outcome.peak / 1e6:>9.0f}{notes}"
        )


def time_bars(outcomes: Mapping[str, Outcome]) -> Iterator[Bar]:
    """Every bar whose ways were measured."""
    seconds = {way: outcome.seconds for way, outcome in outcomes.items()}
    ratios = [
        ("zarr", ("bare", "raw"), 1.08),
        ("zarr", ("by_hand",), 1.0),
        ("zarr", ("as_often_written",), 0.6),
        ("fast", ("bare",), 0.80),
        ("zarr", ("nnsight",), 0.9),
    ]
    for way, others, allowed in ratios:
        if {way, *others} <= seconds.keys():
            name = f"{way} ÷ {'the larger of ' if len(others) > 1 else ''}{' and '.join(others)}"
            yield Bar(name, seconds[way] / max(seconds[other] for other in others), allowed)


def memory_bars(folder: str) -> Iterator[Bar]:
    """Peak memory over many steps and many samples, beside few."""
    for way in ("zarr", "pt"):
        for name, (few, many) in MEMORY.items():
            peaks = [
                measure.once(way, Work(folder, work.samples, work.steps, True)).peak for work in (few, many)
            ]
            counts = f"{getattr(many, name)} {name} ÷ {getattr(few, name)}"
            yield Bar(f"{way}: peak memory, {counts}", peaks[1] / peaks[0], 1.05)


def dynamics_bars(folder: str, repeats: int) -> Iterator[Bar]:
    yield from reading.bars(folder, repeats)
    yield from derivatives.bars(repeats)


def basins_bars(sizes: tuple[int, ...], repeats: int) -> Iterator[Bar]:
    options = basins.Options(sizes=sizes, repeats=repeats)
    yield from basins.map_bars(options)
    yield from basins.rate_bars(options)
    yield from basins.loop_bars(options)


def start_bars(repeats: int) -> Iterator[Bar]:
    yield Bar("denoscope --help, s", measure.seconds_to_help(repeats), 0.4)
    yield Bar("denoscope record to the first network call, s", measure.seconds_to_first_call(repeats), 6.0)


def main(options: Options) -> None:
    ways = [way for way in options.ways if way != "nnsight" or importlib.util.find_spec("nnsight")]
    if left_out := set(options.ways) - set(ways):
        print(f"not installed and left out: {', '.join(left_out)} (pip install -r requirements-bench.txt)")
    print(
        f"{options.samples} samples × {options.steps} steps, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measure.interleaved(ways, Work(folder, options.samples, options.steps), options.repeats)
        print("\n".join(table(outcomes)), end="\n\n")
        print(f"{'bar':<66}{'found':>10}{'allowed':>10}")
        for bar in time_bars(outcomes):
            print(bar)
        for bar in start_bars(options.repeats):
            print(bar)
        for bar in memory_bars(folder) if options.memory else ():
            print(bar)
        for bar in dynamics_bars(folder, options.repeats) if options.dynamics else ():
            print(bar)
        for bar in basins_bars(options.maps, options.repeats) if options.maps else ():
            print(bar)
        for bar in explorer.bars(explorer.Options()) if options.explorer else ():
            print(bar)
        for bar in cluster.bars(cluster.Options(repeats=options.repeats)) if options.cluster else ():
            print(bar)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
