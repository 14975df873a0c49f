"""What measuring a recording costs, beside reading it: in one process, interleaved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import xarray

import denoscope as ds
from benchmarks.bar import Bar
from benchmarks.clock import interleaved
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

    reading, measuring = interleaved([read, measure], repeats)
    yield Bar("divergence of a recording ÷ reading it", measuring / reading, 2)
