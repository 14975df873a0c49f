"""What derivatives of the denoising map cost, beside denoising alone: in one process, interleaved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import denoscope as ds
from benchmarks.bar import Bar
from benchmarks.clock import interleaved
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.sampling.settings import Loop

STEPS = 50
GRID = (4, 4)


def bars(repeats: int) -> Iterator[Bar]:
    """Spectrum and ridge map as ratios to plain denoising; exact derivatives against central differences."""
    denoiser = ds.load("mnist", device="cpu")
    x = ds.noise.random(8, denoiser.shape, seed=0)
    plane = ds.noise.plane(GRID, denoiser.shape, lengths=(20.0, 20.0))
    exponents = []

    def plain(samples: int) -> None:
        ds.sample(denoiser, x.batch(range(samples)), steps=STEPS, lanes=samples)

    def spectrum() -> None:
        exponents.append(ds.dynamics.spectrum(denoiser, x.batch([0]), k=8, steps=STEPS).exponents[0])

    def ridge() -> None:
        ds.dynamics.plane_growth(denoiser, plane, steps=STEPS)

    plain(1)
    eight, one, leading, growth = interleaved([lambda: plain(8), lambda: plain(1), spectrum, ridge], repeats)
    yield Bar("top-8 spectrum ÷ a plain denoising of 8", leading / eight, 60)
    # A hundred times finer than what is judged; finer still takes longer than all else here.
    exact = ds.dynamics.spectrum(denoiser, x.batch([0]), k=8, steps=STEPS, tolerance=1e-5, iterations=60)
    yield Bar(
        "its leading value: relative error", float(np.expm1(abs(exponents[0] - exact.exponents[0]))), 1e-3
    )
    yield Bar("ridge map, a point ÷ a plain denoising of it", growth / (GRID[0] * GRID[1]) / one, 8)
    yield Bar("JVP ÷ central differences − 1, float64", _disagreement(), 1e-4)


def _disagreement() -> float:
    """How far a forward derivative of the bundled model and a central difference lie apart, relatively."""
    denoiser = ds.load("mnist", dtype="float64", device="cpu")
    flow, h = DenoisingMap(denoiser, Loop(steps=10, lanes=1)), 1e-5
    x_T, along = (ds.noise.random(1, denoiser.shape, seed=seed).batch([0]).double() for seed in (0, 1))
    along /= along.norm()
    above, below = (flow(x_T + sign * h * along) for sign in (1, -1))
    exact = flow.push(x_T, along)
    return float(((above - below) / (2 * h) - exact).norm() / exact.norm())
