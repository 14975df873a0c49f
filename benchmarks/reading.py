"""What measuring a recording costs, beside reading it: in one process, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import xarray

import denoscope as ds
from benchmarks.bar import Bar
from benchmarks.ways import LAYERS

PAIRS, STEPS = 63, 50


def bars(folder: str, repeats: int) -> Iterator[Bar]:
    """The divergence of all pairs, as a ratio to plain xarray reading the same arrays."""
    path, denoiser = Path(folder) / "pairs.zarr", ds.load("mnist", device="cpu")
    x = ds.noise.perturbed(PAIRS, denoiser.shape, epsilon=0.01)
    ds.record(denoiser, x, path, steps=STEPS, layers=LAYERS)

    def read() -> None:
        stored = xarray.open_zarr(path)
        for name in ("sequence", *LAYERS):
            stored[name].to_numpy()

    def measure() -> None:
        ds.dynamics.divergence(ds.open(path))

    rounds = [(_seconds(read), _seconds(measure)) for _ in range(repeats)]
    reading, measuring = (median(column) for column in zip(*rounds, strict=True))
    yield Bar("divergence of a recording ÷ reading it", measuring / reading, 2)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
