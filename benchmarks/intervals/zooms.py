"""Cases of intervals that are measured on nested planes of labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.intervals.case import Case, Draw
from benchmarks.intervals.planes import CANTOR, gap_level
from denoscope.dynamics.boundaries.nested_planes import judge_nested

Generator = np.random.Generator
SIZE, LEVELS = 64, 4
"""Cells of each plane along both axes, and the number of planes: those of one decade, each half as wide as the one before."""


def coordinates(half_width: float) -> np.ndarray:
    """x and y [2, SIZE, SIZE] of the cells around a point."""
    ticks = half_width * (2 * (np.arange(SIZE) + 0.5) / SIZE - 1)
    x, y = np.meshgrid(ticks, ticks)
    return np.stack([x, y])


def line(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A straight boundary through the point, in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    return lambda at: (at[0] * math.cos(angle) + at[1] * math.sin(angle) > 0).astype(int)


def circle(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A circle through the point, from half to twice as large as the widest plane."""
    angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2)
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    return lambda at: (np.hypot(at[0] - x, at[1] - y) < radius).astype(int)


def stripes(rng: Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Stripes that end at Cantor's set, around a random point of it, in a random direction."""
    point = float((2 * rng.integers(0, 2, 40) * 3.0 ** -np.arange(1, 41)).sum())
    angle, scale = rng.uniform(0, 2 * math.pi), rng.uniform(1, 3) * 0.02
    return lambda at: gap_level(point + scale * (at[0] * math.cos(angle) + at[1] * math.sin(angle))) % 2


def nested(rng: Generator, boundary: Callable[[Generator], Callable], truth: float) -> Draw:
    """The dimension in a decade of a zoom."""
    labels, widths = boundary(rng), 2.0 ** -np.arange(LEVELS)
    found = judge_nested([labels(coordinates(width)) for width in widths], widths)
    return Draw(found.interval, truth)


def cases() -> list[Case]:
    """The dimension by decade of smooth boundaries and of one of known dimension."""
    systems = (
        ("zoomed straight lines", "1", line, 1.0),
        ("zoomed circles", "1", circle, 1.0),
        ("zoomed Cantor stripes", "1 + ln 2/ln 3", stripes, 2 - CANTOR),
    )
    return [
        Case(
            "NestedPlanes.interval",
            f"{name}, {LEVELS} × {SIZE}² cells",
            truth,
            partial(nested, boundary=system, truth=value),
        )
        for name, truth, system, value in systems
    ]
