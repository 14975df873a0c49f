"""Cases of intervals that are measured on orbits and series."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch

from benchmarks.intervals.case import Case, Draw
from denoscope import dynamics
from denoscope.dynamics.loops.growth_statistics import growth_warnings, mean_growth
from denoscope.dynamics.loops.lyapunov import Lyapunov

Generator = np.random.Generator
LN2 = math.log(2)


def tent(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next state and the Jacobian of the skew tent map with its top at 0.3."""
    rising = x[0] < 0.3
    return x / 0.3 if rising else (1 - x) / 0.7, np.array([[1 / 0.3 if rising else -1 / 0.7]])


def logistic(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 4 * x * (1 - x), 4 - 8 * x[:, None]


def henon(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.array([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]]), np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]])


def jordan(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.array([[0.9, 1.0], [0.0, 0.9]])
    return matrix @ x, matrix


def lyapunov(rng: Generator, step: Callable, size: int, iterations: int) -> Lyapunov:
    """What `dynamics.lyapunov` makes of the growth along an orbit, which NumPy computes 30 times as fast."""
    x, frame = rng.uniform(0.02, 0.2, size), np.linalg.qr(rng.standard_normal((size, size)))[0]
    growth = np.empty((iterations + 100, size))
    for n in range(len(growth)):
        x, jacobian = step(x)
        frame, upper = np.linalg.qr(jacobian @ frame)
        growth[n] = np.log(np.abs(np.diag(upper)))
    exponents, intervals = mean_growth(growth[100:], 0.95)
    return Lyapunov(
        exponents=exponents,
        intervals=intervals,
        history=growth[:0],
        history_iterations=np.arange(0),
        warnings=tuple(growth_warnings(growth[100:], torch.float64)),
    )


def growth(rng: Generator, step: Callable, size: int, truth: float) -> Draw:
    found = lyapunov(rng, step, size, 1000)
    return Draw(found.intervals[0], truth, bool(found.warnings))


def kaplan_yorke(rng: Generator) -> Draw:
    found = dynamics.kaplan_yorke(lyapunov(rng, henon, 2, 1000))
    return Draw(found.interval, 1.2583, bool(found.warnings))


def dimension(rng: Generator, points: Callable[[Generator], np.ndarray], truth: float) -> Draw:
    found = dynamics.correlation_dimension(points(rng))
    return Draw(found.interval, truth, bool(found.warnings))


def noise(rng: Generator, size: int, number: int) -> np.ndarray:
    return rng.standard_normal((number, size))


def cube(rng: Generator, size: int, number: int) -> np.ndarray:
    return rng.uniform(0, 1, (number, size))


def torus(rng: Generator, size: int, number: int) -> np.ndarray:
    """Independent points of a torus with `size` angles, each a circle of a plane of its own."""
    angles = rng.uniform(0, 2 * math.pi, (number, size))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def winding(rng: Generator, size: int, number: int) -> np.ndarray:
    """A quasiperiodic orbit on such a torus."""
    rates = 2 * math.pi * np.sqrt([2, 3, 5])[:size] * rng.uniform(0.9, 1.1)
    angles = np.arange(number)[:, None] * rates + rng.uniform(0, 2 * math.pi, size)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def cantor(rng: Generator, base: int, number: int) -> np.ndarray:
    """Independent points of the set of numbers that have the first and the last digit only."""
    return (rng.integers(0, 2, (number, 34)) * (base - 1.0)) @ float(base) ** -np.arange(1, 35)


def henon_orbit(rng: Generator, number: int) -> np.ndarray:
    x, y = rng.uniform(0, 0.2, 2)
    found = np.empty((number + 100, 2))
    for n in range(len(found)):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        found[n] = x, y
    return found[100:]


@cache
def series(kind: str) -> np.ndarray:
    """A series of 500 values whose K is to be estimated."""
    if kind == "noise":
        return np.random.default_rng(0).standard_normal(500)
    x, r = [0.3], {"chaos": 3.9, "edge": 3.57}[kind]
    for _ in range(499):
        x.append(r * x[-1] * (1 - x[-1]))
    return np.array(x)


@cache
def median_k(kind: str) -> float:
    """The median over all frequencies, from 4,001 of another seed."""
    return dynamics.zero_one(series(kind), frequencies=4001, seed=10_000).value


def zero_one(rng: Generator, kind: str, frequencies: int) -> Draw:
    found = dynamics.zero_one(series(kind), frequencies=frequencies, seed=int(rng.integers(1 << 30)))
    return Draw(found.interval, median_k(kind))


def cases() -> list[Case]:
    return [*_lyapunov(), *_dimensions(), *_zero_one()]


def _lyapunov() -> list[Case]:
    entropy = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    maps: list[tuple[str, Callable, int, float]] = [
        ("skew tent map, 1,000 iterations", tent, 1, entropy),
        ("logistic map, r = 4, 1,000 iterations", logistic, 1, LN2),
        ("Hénon's map, 1,000 iterations", henon, 2, 0.41929),
        ("[[0.9, 1], [0, 0.9]], 1,000 iterations", jordan, 2, math.log(0.9)),
    ]
    found = [
        Case("Lyapunov.intervals", name, f"{truth:.5g}", partial(growth, step=step, size=size, truth=truth))
        for name, step, size, truth in maps
    ]
    return [*found, Case("KaplanYorke.interval", "Hénon's map, 1,000 iterations", "1.2583", kaplan_yorke)]


def _dimensions() -> list[Case]:
    sets: list[tuple[str, Callable[[Generator], np.ndarray], float]] = [
        ("circle, 500 points of an orbit", partial(winding, size=1, number=500), 1),
        ("2-torus, 1,000 points of an orbit", partial(winding, size=2, number=1000), 2),
        ("3-torus, 1,000 points of an orbit", partial(winding, size=3, number=1000), 3),
        ("3-torus, 1,000 independent points", partial(torus, size=3, number=1000), 3),
        ("square, 1,000 independent points", partial(cube, size=2, number=1000), 2),
        ("normal noise in 2 dimensions, 1,000 points", partial(noise, size=2, number=1000), 2),
        ("normal noise in 4 dimensions, 1,000 points", partial(noise, size=4, number=1000), 4),
        ("Cantor's set, 1,000 points", partial(cantor, base=3, number=1000), LN2 / math.log(3)),
        ("Cantor's set of fifths, 1,000 points", partial(cantor, base=5, number=1000), LN2 / math.log(5)),
        ("Hénon's attractor, 1,000 points", partial(henon_orbit, number=1000), 1.21),
    ]
    return [
        Case(
            "CorrelationDimension.interval",
            name,
            f"{truth:.4g}",
            partial(dimension, points=points, truth=truth),
        )
        for name, points, truth in sets
    ]


def _zero_one() -> list[Case]:
    kinds = [("noise", "white noise"), ("chaos", "logistic map, r = 3.9"), ("edge", "logistic map, r = 3.57")]
    return [
        Case(
            "ZeroOne.interval",
            f"{name}, 25 frequencies",
            "median of 4,001",
            partial(zero_one, kind=kind, frequencies=25),
        )
        for kind, name in kinds
    ]
