"""What adaptive maps of basins cost, beside computing every cell, and how many of their labels are wrong.

    python -m benchmarks.basins --sizes 256 512

prints one line for each plane and size. Beyond 256² the labels are compared in 50,000 random cells.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray

import denoscope as ds
from benchmarks.bar import Bar
from benchmarks.clock import interleaved
from denoscope.dynamics.boundaries.label_plane import beside_boundary

ROWS = {256: 0.07, 512: 0.04, 1024: 0.02, 2048: 0.011}
"""The largest share of network rows, by the number of cells along each axis."""
ALL_CELLS = 256
"""Up to this many cells along each axis every cell is compared."""
COMPARED = 50_000
SEEDS = {"a": 0, "b": 1, "c": 2}
"""The base of each plane."""


@dataclass(frozen=True)
class Options:
    """Which maps are made."""

    model: str = "digits"
    sizes: tuple[int, ...] = tuple(ROWS)
    planes: tuple[str, ...] = tuple(SEEDS)
    half_width: float = 8.0
    steps: int = 20
    repeats: int = 3
    """Of the rates, which are medians."""


@dataclass(frozen=True)
class Found:
    """One adaptive map beside brute force."""

    plane: str
    cells: int
    share: float
    """Of the network rows of brute force; audit and probes included."""
    boundary: float
    """Share of the cells beside a cell of another label."""
    wrong: float
    """Share of the compared cells whose label differs."""
    bound: float
    """The largest share of wrong cells that the audit allows (99.9 %)."""
    seconds: float
    time_share: float
    """Of the time of brute force, which for the larger maps is that of the compared cells, scaled."""

    def __str__(self) -> str:
        return (
            f"{self.plane:<6}{self.cells:>6}{self.share:>9.2%}{self.boundary:>10.2%}{self.wrong:>10.4%}{self.bound:>10.3%}"
            f"{self.seconds:>9.1f}{self.time_share / self.share:>9.2f}"
        )


def compared(options: Options, plane: str, cells: int) -> Found:
    """An adaptive map, and the labels of brute force in all or many of its cells."""
    denoiser = ds.load(options.model, device="cpu")
    noises = ds.noise.plane(
        (cells, cells),
        denoiser.shape,
        lengths=(2 * options.half_width,) * 2,
        base_seed=SEEDS[plane],
        endpoint=False,
    )
    began = time.perf_counter()
    found = ds.basins.map(denoiser, noises, steps=options.steps, method="adaptive")
    seconds = time.perf_counter() - began
    rows, columns = _cells_to_compare(found)
    label_of = ds.basins.label_of(denoiser, noises, steps=options.steps)
    began = time.perf_counter()
    truth = label_of(np.stack([found["u"].values[columns], found["v"].values[rows]], axis=1))
    brute = (time.perf_counter() - began) * found["label"].size / len(rows)
    label = found["label"].values
    audit = found.attrs["audit"]
    filled = audit["filled"] / label.size
    return Found(
        plane,
        cells,
        share=float(found["computed"].mean()),
        boundary=float(beside_boundary(label).mean()),
        wrong=float(np.mean(label[rows, columns] != truth)),
        bound=filled * _bound(audit["wrong"], audit["checked"]),
        seconds=seconds,
        time_share=seconds / brute,
    )


def _cells_to_compare(found: xarray.Dataset) -> tuple[np.ndarray, np.ndarray]:
    shape = found["label"].shape
    size = found["label"].size
    every = max(shape) <= ALL_CELLS
    chosen = (
        np.arange(size)
        if every
        else np.random.default_rng(7).choice(size, min(COMPARED, size), replace=False)
    )
    rows, columns = np.divmod(chosen, shape[1])
    return rows, columns


def _bound(wrong: int, checked: int) -> float:
    from scipy import stats

    return float(stats.binomtest(wrong, checked).proportion_ci(0.998).high)


def rate_bars(model: str, repeats: int) -> Iterator[Bar]:
    """Network rows a second by lanes and compiled, the time to the first picture, and points that are shared."""
    denoiser = ds.load(model, device="cpu")
    x = ds.noise.random(256, denoiser.shape, seed=0)

    def sampled(lanes: int) -> None:
        ds.sample(denoiser, x.batch(range(256 if lanes > 8 else 64)), steps=20, lanes=lanes)

    few, many = interleaved([lambda: sampled(8), lambda: sampled(64)], repeats)
    yield Bar("time of a row in calls of 64 ÷ in calls of 8", many / 4 / few, 1 / 4)
    plane = ds.noise.plane((32, 32), denoiser.shape, lengths=(16.0, 16.0), endpoint=False)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeats):
        for fast, taken in times.items():
            seen: list[float] = []
            ds.basins.map(
                denoiser,
                plane,
                steps=20,
                fast=fast,
                callback=lambda _: seen.append(time.perf_counter()),  # noqa: B023, called within this round
            )
            taken.append(float(np.median(np.diff(seen))))
    yield Bar("compiled ÷ not compiled, 64 rows", np.median(times[True]) / np.median(times[False]), 1 / 1.4)
    yield Bar("first picture of 64², s", _first_picture(denoiser), 3.0)
    yield Bar("rows of 512² after 256² ÷ of 512² alone", _shared(denoiser), 0.75)


def _first_picture(denoiser: ds.Denoiser) -> float:
    plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(16.0, 16.0), endpoint=False)
    seen: list[float] = []

    def show(_map: xarray.Dataset) -> None:
        seen.append(time.perf_counter())

    began = time.perf_counter()
    ds.basins.map(denoiser, plane, steps=20, method="adaptive", callback=show)
    return seen[0] - began


def _shared(denoiser: ds.Denoiser) -> float:
    """Points that 512² still adds to a cache after 256², as a share of those of 512² alone."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "points.db"
        counts = []
        for cells in (256, 512):
            plane = ds.noise.plane((cells, cells), denoiser.shape, lengths=(16.0, 16.0), endpoint=False)
            found = ds.basins.map(denoiser, plane, steps=20, method="adaptive", cache=cache)
            counts.append(_points(cache))
        return (counts[1] - counts[0]) / int(found["computed"].sum())


def _points(cache: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(cache)
    (count,) = connection.execute("SELECT count(*) FROM points").fetchone()
    connection.close()
    return int(count)


def bars(options: Options) -> Iterator[Bar]:
    """Prints a line for each map; yields the worst plane of each size."""
    print(f"{'plane':<6}{'cells':>6}{'rows':>9}{'boundary':>10}{'wrong':>10}{'bound':>10}{'s':>9}{'time':>9}")
    for cells in options.sizes:
        found = [compared(options, plane, cells) for plane in options.planes]
        print("\n".join(map(str, found)), flush=True)
        allowed = ROWS.get(cells, float("nan"))
        yield Bar(f"{cells}²: share of rows", max(one.share for one in found), allowed)
        yield Bar(f"{cells}²: wrong labels", max(one.wrong for one in found), 1e-4)
        yield Bar(f"{cells}²: share of time ÷ of rows", max(one.time_share / one.share for one in found), 1.2)


def main(options: Options) -> None:
    """Print all bars."""
    print(
        f"{options.model}, {options.steps} steps, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for bar in [*bars(options), *rate_bars(options.model, options.repeats)]:
        print(bar)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
