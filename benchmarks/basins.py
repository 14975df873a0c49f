"""What adaptive maps of basins cost, beside computing every cell, and how many of their labels are wrong.

    python -m benchmarks.basins --sizes 256 512

prints one line for each plane and size. Beyond 256² the labels are compared in 50,000 random cells.
"""

from __future__ import annotations

import copy
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray

import denoscope as ds
from benchmarks.bar import Bar
from benchmarks.clock import interleaved
from benchmarks.ways import denoise_plainly
from denoscope.basins.map_lanes import map_lanes
from denoscope.config import MAP_LANES, Method
from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.label_plane import beside_boundary

ROWS = {256: 0.07, 512: 0.04, 1024: 0.02, 2048: 0.011}
"""The largest share of network rows, by the number of cells along each axis."""
ALL_CELLS = 256
"""Up to this many cells along each axis every cell is compared."""
COMPARED = 50_000
LOOPS = 5
"""Rounds of the loop for each repeat of the other rates: its bar is a few percent."""
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
    first: int = 64
    """Cells along each axis of the map whose first picture is awaited."""
    shared: tuple[int, int] = (256, 512)
    """Cells along each axis of two maps, of which the second takes points from the first."""
    mnist: int = 0
    """Also a map of `mnist` of half-width 30 with so many cells along each axis: 128 for its bar; 0 leaves it out."""
    zoom: int = 0
    """Also a zoom in float64 with so many cells along each axis: 64 for its bars; 0 leaves it out."""
    zoom_levels: int | None = None
    """By default as many as the precision allows."""


@dataclass(frozen=True)
class Found:
    """One adaptive map beside brute force."""

    plane: str
    cells: int
    share: float
    """Of the network rows of brute force; audit, probes and the padding of calls included."""
    boundary: float
    """Share of the cells beside a cell of another label."""
    wrong: float
    """Share of the compared cells whose label differs."""
    bound: float
    """The largest share of wrong cells that the audit leaves (99.9 %)."""
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
    noises = _plane(denoiser, options, cells, SEEDS[plane])
    began = time.perf_counter()
    found = ds.basins.map(denoiser, noises, steps=options.steps, method="adaptive")
    seconds = time.perf_counter() - began
    rows, columns = _cells_to_compare(found)
    label_of = ds.basins.label_of(denoiser, noises, steps=options.steps)
    began = time.perf_counter()
    truth = label_of(np.stack([found["u"].values[columns], found["v"].values[rows]], axis=1))
    brute = (time.perf_counter() - began) * found["label"].size / len(rows)
    label = found["label"].values
    audit = audit_of(found)
    return Found(
        plane,
        cells,
        share=found.attrs["network_rows"] / rows_of(denoiser, label.size),
        boundary=float(beside_boundary(label).mean()),
        wrong=float(np.mean(label[rows, columns] != truth)),
        bound=audit.missed(0.999) / label.size,
        seconds=seconds,
        time_share=seconds / brute,
    )


def rows_of(denoiser: ds.Denoiser, cells: int) -> int:
    """The network rows of brute force: all cells, in whole calls."""
    lanes = map_lanes(denoiser)
    return -(-cells // lanes) * lanes


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


def rate_bars(options: Options) -> Iterator[Bar]:
    """Network rows a second by lanes and compiled, the time to the first picture, and points that are shared."""
    denoiser = ds.load(options.model, device="cpu")
    yield Bar("time of a row in calls of 64 ÷ in calls of 8", _lanes(denoiser, options), 1 / 4)
    yield Bar("compiled ÷ not compiled, 64 rows", _compiled(denoiser, options), 1 / 1.4)
    first, (coarse, fine) = options.first, options.shared
    yield Bar(f"first picture of {first}², s", _first_picture(denoiser, options), 3.0)
    yield Bar(f"rows of {fine}² after {coarse}² ÷ of {fine}² alone", _shared(denoiser, options), 0.75)


def loop_bars(options: Options) -> Iterator[Bar]:
    """The time of the loop for 64 rows, as a share of that of diffusers' own loop."""
    denoiser = ds.load(options.model, device="cpu")
    x, scheduler = (
        ds.noise.random(MAP_LANES, denoiser.shape, seed=0).batch(range(MAP_LANES)),
        denoiser.scheduler,
    )

    def plain() -> None:
        denoise_plainly(denoiser.network, copy.deepcopy(scheduler), x, options.steps)

    def own() -> None:
        ds.sample(denoiser, x, steps=options.steps, lanes=MAP_LANES)

    with torch.inference_mode():
        interleaved([plain, own], 1)
        theirs, ours = interleaved([plain, own], LOOPS * options.repeats)
    yield Bar(f"loop ÷ diffusers' own loop, {MAP_LANES} rows", ours / theirs, 1.03)


def long_bars(options: Options) -> Iterator[Bar]:
    """The map of `mnist` and the zoom, if they are asked for: minutes each."""
    if cells := options.mnist:
        denoiser = ds.load("mnist", device="cpu")
        plane = _plane(denoiser, replace(options, half_width=30.0), cells)
        found = ds.basins.map(denoiser, plane, steps=options.steps, method="adaptive")
        share = found.attrs["network_rows"] / rows_of(denoiser, cells**2)
        yield Bar(f"mnist {cells}²: share of rows", share, 0.15)
    if cells := options.zoom:
        denoiser = ds.load(options.model, device="cpu", dtype="float64")
        began = time.perf_counter()
        zoomed = ds.basins.zoom(
            denoiser, _plane(denoiser, options, cells), steps=options.steps, levels=options.zoom_levels
        )
        seconds, half_width = time.perf_counter() - began, zoomed["half_width"].values
        print(f"zoom: {zoomed.sizes['level']} levels; {zoomed.attrs['stopped']}")
        share = int(zoomed["network_rows"].sum()) / rows_of(denoiser, zoomed["label"].size)
        decades = float(np.log10(half_width[0] / half_width[-1]))
        yield Bar("zoom: decades missing of 12", max(12 - decades, 0), 0)
        yield Bar("zoom: share of rows", share, 0.5)
        yield Bar("zoom, s", seconds, 720)


def _plane(denoiser: ds.Denoiser, options: Options, cells: int, base: int = 0) -> ds.noise.NoiseSet:
    lengths = (2 * options.half_width,) * 2
    return ds.noise.plane((cells, cells), denoiser.shape, lengths=lengths, base_seed=base, endpoint=False)


def _lanes(denoiser: ds.Denoiser, options: Options) -> float:
    """The time of a row in calls of 64 rows, as a share of that in calls of 8."""
    x = ds.noise.random(256, denoiser.shape, seed=0)

    def sampled(rows: int, lanes: int) -> None:
        ds.sample(denoiser, x.batch(range(rows)), steps=options.steps, lanes=lanes)

    few, many = interleaved([lambda: sampled(64, 8), lambda: sampled(256, 64)], options.repeats)
    return many / 4 / few


def _compiled(denoiser: ds.Denoiser, options: Options) -> float:
    """The time between two batches of a compiled map, as a share of that of another map."""
    plane = _plane(denoiser, options, 32)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(options.repeats):
        for fast, taken in times.items():
            seen = _seconds_of_pictures(denoiser, plane, options, fast=fast, method="exact")
            taken.append(float(np.median(np.diff(seen))))
    return float(np.median(times[True]) / np.median(times[False]))


def _first_picture(denoiser: ds.Denoiser, options: Options) -> float:
    """The seconds until the callback sees a map for the first time."""
    plane = _plane(denoiser, options, options.first)
    return _seconds_of_pictures(denoiser, plane, options, method="adaptive")[0]


def _seconds_of_pictures(
    denoiser: ds.Denoiser, plane: ds.noise.NoiseSet, options: Options, *, method: Method, fast: bool = False
) -> list[float]:
    """When the callback sees a map, in seconds from its beginning."""
    seen: list[float] = []
    began = time.perf_counter()

    def show(_map: xarray.Dataset) -> None:
        seen.append(time.perf_counter() - began)

    ds.basins.map(denoiser, plane, steps=options.steps, method=method, fast=fast, callback=show)
    return seen


def _shared(denoiser: ds.Denoiser, options: Options) -> float:
    """Points that a finer map still adds to a cache after a coarser one, as a share of those of the finer one alone."""
    with tempfile.TemporaryDirectory() as folder:
        cache, counts = Path(folder) / "points.db", []
        for cells in options.shared:
            plane = _plane(denoiser, options, cells)
            found = ds.basins.map(denoiser, plane, steps=options.steps, method="adaptive", cache=cache)
            counts.append(_points(cache))
    return (counts[1] - counts[0]) / int(found["computed"].sum())


def _points(cache: Path) -> int:
    """The number of points in a cache."""
    with closing(sqlite3.connect(cache)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM points").fetchone()
    return int(count)


def map_bars(options: Options) -> Iterator[Bar]:
    """Prints a line for each map; yields the worst plane of each size."""
    print(f"{'plane':<6}{'cells':>6}{'rows':>9}{'boundary':>10}{'wrong':>10}{'bound':>10}{'s':>9}{'time':>9}")
    for cells in options.sizes:
        found = [compared(options, plane, cells) for plane in options.planes]
        print("\n".join(map(str, found)), flush=True)
        if cells in ROWS:
            yield Bar(f"{cells}²: share of rows", max(one.share for one in found), ROWS[cells])
        yield Bar(f"{cells}²: wrong labels", max(one.wrong for one in found), 1e-4)
        yield Bar(f"{cells}²: share of time ÷ of rows", max(one.time_share / one.share for one in found), 1.2)


def main(options: Options) -> None:
    """Print all bars."""
    print(
        f"{options.model}, {options.steps} steps, {MAP_LANES} lanes, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for bar in [*map_bars(options), *rate_bars(options), *loop_bars(options), *long_bars(options)]:
        print(bar)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
