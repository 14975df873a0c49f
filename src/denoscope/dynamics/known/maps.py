"""Hénon's map, the cat map and the logistic map as steps of DDIM: orbits, exponents and dimensions."""

from __future__ import annotations

import math

import numpy as np
import torch

from denoscope import dynamics
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.known.check import Check
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.sampling.loop import denoise
from denoscope.sampling.settings import Loop

POINT = (2, 1, 1)
"""The shape of a state that is one point with two coordinates."""
LONGEST = 1000
"""The largest number of steps of a scheduler with 1000 training steps."""
CAT = math.log((3 + math.sqrt(5)) / 2)
HENON = 0.41929, -1.62327
HENON_DIMENSION = 1.2583
HENON_CORRELATION = 1.21


def finite_maps() -> list[Check]:
    """Exact values of maps of a few steps."""
    x, steps = _point(0.1, 0.2), 50
    henon = dynamics.full_spectrum(models.embedded(models.henon, steps, POINT), x, steps=steps)
    cat = dynamics.full_spectrum(models.embedded(models.cat, steps, POINT), x, steps=steps)
    assert henon.log_det is not None
    return [
        Check("Hénon, 10 steps of DDIM against the map itself", 0.0, _distance_from_the_map(x), 1e-10),
        Check(
            "Hénon, DDIM N=50: sum of exponents per step", math.log(0.3), henon.exponents.sum() / steps, 1e-12
        ),
        Check("Hénon, DDIM N=50: ln|det| per step", math.log(0.3), henon.log_det / steps, 1e-12),
        Check("cat map, DDIM N=50: first exponent per step", CAT, cat.exponents[0] / steps, 1e-9),
        Check("cat map, DDIM N=50: second exponent per step", -CAT, cat.exponents[1] / steps, 1e-9),
    ]


def series() -> list[Check]:
    """The states of one denoising of 1000 steps as a time series."""
    cycle, chaos = (
        _states(models.logistic(r), torch.full((1, 1, 1, 1), 0.3))[:, 0, 0, 0] for r in (3.5, 4.0)
    )
    flow = _map(models.logistic(3.2), 10, (1, 1, 1))
    settled = dynamics.lyapunov(flow, torch.full((1, 1, 1), 0.3).double(), iterations=40, k=1).exponents[0]
    period = dynamics.periodicity(cycle).period
    return [
        Check("logistic r=3.2, DDIM N=10 iterated: exponent per step", -0.9162907, settled / 10, 1e-7),
        Check("logistic r=3.5, DDIM N=1000: period", 4, float("nan") if period is None else period),
        Check("logistic r=3.5, DDIM N=1000: K of the 0–1 test", 0.0, dynamics.zero_one(cycle).value, 0.05),
        Check("logistic r=4, DDIM N=1000: K of the 0–1 test", 1.0, dynamics.zero_one(chaos).value, 0.05),
    ]


def attractor() -> list[Check]:
    """Hénon's attractor: 8000 iterations as 1600 denoisings of five steps, and 8 denoisings of 1000."""
    # In ten steps the growth of the two directions would differ by e²⁰, which costs eight digits of their sum.
    steps = 5
    x = torch.zeros(POINT, dtype=torch.float64)
    found = dynamics.lyapunov(_map(models.henon, steps, POINT), x, iterations=1600, discard=10)
    first, second = found.exponents / steps
    starts = 0.1 * torch.randn(1, 2, 1, 8, generator=torch.Generator().manual_seed(0))
    orbits = _states(models.henon, starts)[50:, :, 0]
    points = orbits.transpose(2, 0, 1).reshape(-1, 2)
    prefix = "Hénon, DDIM N=5 iterated 1600 times"
    return [
        Check(f"{prefix}: first exponent", HENON[0], first, 0.01),
        Check(f"{prefix}: second exponent", HENON[1], second, 0.01),
        Check(f"{prefix}: their sum", math.log(0.3), first + second, 1e-12),
        Check(f"{prefix}: Kaplan–Yorke", HENON_DIMENSION, dynamics.kaplan_yorke(found).value, 0.005),
        Check(
            "Hénon, DDIM N=1000, 8 orbits: correlation dimension",
            HENON_CORRELATION,
            dynamics.correlation_dimension(points).value,
            0.03,
        ),
    ]


def _distance_from_the_map(x: torch.Tensor) -> float:
    """The distance between ten steps of DDIM and ten iterations of the map, implemented separately."""
    steps = list(denoise(models.embedded(models.henon, 10, POINT), x, steps=10, lanes=1))
    p, q = x.flatten().tolist()
    for _ in range(10):
        p, q = 1 - 1.4 * p**2 + q, 0.3 * p
    return float(np.hypot(*(steps[-1].x_after.flatten().numpy() - (p, q))))


def _map(step: models.Map, steps: int, shape: tuple[int, int, int]) -> models.Map:
    """The map x_T → x_0 of one state [C, H, W], for iteration."""
    flow = DenoisingMap(models.embedded(step, steps, shape), Loop(steps=steps, lanes=1))
    return lambda x: flow.from_step(0, x[None])[0]


def _states(step: models.Map, x: torch.Tensor) -> np.ndarray:
    """The states [time, C, H, W] of one denoising of 1000 steps."""
    shape = tuple(x.shape[1:])
    run = denoise(models.embedded(step, LONGEST, shape), x.double(), steps=LONGEST, lanes=1)  # type: ignore[arg-type]
    return np.stack([one.x_after[0].numpy() for one in run])


def _point(p: float, q: float) -> torch.Tensor:
    return torch.tensor([p, q], dtype=torch.float64).reshape(1, *POINT)
