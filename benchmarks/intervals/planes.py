"""Cases of intervals that are measured on planes of labels and at pairs of points."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import xarray
from scipy import ndimage, stats

from benchmarks.intervals.case import Case, Draw
from benchmarks.intervals.filled import filled
from denoscope import dynamics

Generator = np.random.Generator
Plane = Callable[[Generator], np.ndarray | xarray.DataArray]
"""Draws the labels of a plane."""
CANTOR = 1 - math.log(2) / math.log(3)


def field(rng: Generator, size: int, width: float) -> np.ndarray:
    """White noise smoothed over `width` cells, of unit variance."""
    margin = math.ceil(4 * width)
    smooth = ndimage.gaussian_filter(rng.standard_normal((size + 2 * margin,) * 2), width)
    return smooth[margin:-margin, margin:-margin] * 2 * width * math.sqrt(math.pi)


def lines(rng: Generator, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    return (x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.2, 0.2)).astype(int)


def disks(rng: Generator, size: int) -> np.ndarray:
    """A disk somewhere inside."""
    y, x = np.mgrid[:size, :size] / size
    across, down = rng.uniform(0.35, 0.65, 2)
    return (np.hypot(x - across, y - down) < rng.uniform(0.15, 0.3)).astype(int)


def stripes(rng: Generator, size: int, base: int = 3) -> np.ndarray:
    """The gaps of Cantor's set of middle parts, labelled by their level modulo 2, in a random direction."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    return gap_level(along * rng.uniform(0.3, 0.4) + rng.uniform(0.3, 0.5), base) % 2


def gap_level(x: np.ndarray, base: int = 3) -> np.ndarray:
    """The level, from 1 on, of the gap of Cantor's set in which points lie; 0 outside of [0, 1]."""
    level, inside, x = np.zeros(x.shape, int), (x > 0) & (x < 1), x
    for digit in range(1, 20):
        gap = inside & (x > 1 / base) & (x < 1 - 1 / base)
        level[gap], inside = digit, inside & ~gap
        x = np.where(x >= 1 - 1 / base, base * x - (base - 1), base * x)
    return level


def rough(rng: Generator, size: int, hurst: float) -> np.ndarray:
    """The sides of the median of a rough surface, whose level lines have dimension 2 − H."""
    frequency = np.fft.fftfreq(2 * size)
    k = np.hypot(frequency[:, None], frequency[None, :])
    k[0, 0] = np.inf
    surface = np.fft.ifft2(np.fft.fft2(rng.standard_normal(k.shape)) * k ** -(hurst + 1)).real[:size, :size]
    return (surface > np.median(surface)).astype(int)


def fraction(rng: Generator, plane: Plane, share: float) -> Draw:
    found = dynamics.basin_fractions(plane(rng))
    if found.classes == (0,):
        return Draw(1 - found.intervals[0][::-1], share, bool(found.warnings))
    return Draw(found.intervals[-1], share, bool(found.warnings))


def above(rng: Generator, size: int, width: float, cut: float = 0.0) -> np.ndarray:
    return (field(rng, size, width) > cut).astype(int)


def blobs(rng: Generator, size: int, radius: int, share: float) -> np.ndarray:
    """Disks around the points of a Poisson process, which cover a share of the plane on average."""
    y, x = np.mgrid[:size, :size]
    wide = size + 2 * radius
    plane = np.zeros((size, size), int)
    for _ in range(rng.poisson(-math.log(1 - share) / (math.pi * radius**2) * wide**2)):
        across, down = rng.uniform(-radius, size + radius, 2)
        plane |= np.hypot(x - across, y - down) < radius
    return plane


def specks(rng: Generator, size: int, share: float) -> np.ndarray:
    """Cells of another class, each by itself."""
    return (rng.random((size, size)) < share).astype(int)


def islands(rng: Generator, size: int, share: float) -> np.ndarray:
    """Squares of 6 cells of another class, at places that do not depend on each other."""
    wide = size + 5
    starts = rng.random((wide, wide)) < 1 - (1 - share) ** (1 / 36)
    return ndimage.maximum_filter(starts, 6)[3 : 3 + size, 3 : 3 + size].astype(int)


def dimension(rng: Generator, plane: Plane, truth: float, part: str) -> Draw:
    found = dynamics.boundary_dimension(plane(rng), seed=int(rng.integers(1000)))
    ends = {
        "interval": found.interval,
        "fit.interval": found.fit.interval,
        "local": found.fit.local_intervals[0],
    }
    return Draw(ends[part], truth, bool(found.warnings))


def exponent(
    rng: Generator, label_of: Callable, number: int, epsilons: np.ndarray, truth: float, size: int
) -> Draw:
    points = rng.uniform(0, 1, (number, size))
    found = dynamics.uncertainty_exponent(label_of, points, epsilons, seed=int(rng.integers(1000)))
    return Draw(found.interval, truth, bool(found.warnings))


def uncertain_fraction(rng: Generator) -> Draw:
    found = dynamics.uncertainty_exponent(half, rng.uniform(0, 1, (400, 2)), [0.02, 0.06, 0.2])
    # A neighbour at ε in direction a is on the other side with probability ε|cos a| in a square of side 1.
    return Draw(found.fraction_intervals[1], 0.06 * 2 / math.pi)


def half(points: np.ndarray) -> np.ndarray:
    return (points[:, 0] > 0.5).astype(int)


def cantor(points: np.ndarray) -> np.ndarray:
    return gap_level(points[:, 0] % 1)


def julia(points: np.ndarray) -> np.ndarray:
    """Whether z² − 1 stays bounded from points of the unit square, spread over [−1.7, 1.7] × [−1, 1]."""
    z = (points[:, 0] - 0.5) * 3.4 + 2j * (points[:, 1] - 0.5)
    for _ in range(60):
        z = np.where(np.abs(z) < 4, z**2 - 1, 8)
    return (np.abs(z) < 4).astype(int)


def three(rng: Generator, size: int = 60) -> np.ndarray:
    """Which of three smooth fields is the largest."""
    return np.stack([field(rng, size, 4) for _ in range(3)]).argmax(axis=0)


@cache
def wada_truth(box: int) -> float:
    """Boxes with all classes over boxes with more than one, in 400 planes that no draw uses."""
    found, rng = [], np.random.default_rng(1)
    for _ in range(400):
        windows = np.lib.stride_tricks.sliding_window_view(three(rng), (box, box)).reshape(-1, box**2)
        kinds = sum((windows == label).any(axis=1).astype(int) for label in range(3))
        found.append(((kinds == 3).sum(), (kinds > 1).sum()))
    full, mixed = np.sum(found, axis=0)
    return float(full / mixed)


def wada(rng: Generator, box: int) -> Draw:
    found = dynamics.wada(three(rng), boxes=[box])
    return Draw(found.intervals[0], wada_truth(box), bool(found.warnings))


def cases() -> list[Case]:
    return [*_fractions(), *_dimensions(), *_exponents(), *_wada()]


def _fractions() -> list[Case]:
    planes: list[tuple[str, Plane, float]] = [
        ("80 independent draws", lambda rng: (rng.random(80) < 0.2).astype(int), 0.2),
        *(
            (
                f"Gaussian field, correlation length {width} of 60 cells",
                partial(above, size=60, width=width),
                0.5,
            )
            for width in (1, 2, 4, 6, 8)
        ),
        *(
            (
                f"Gaussian field, length {width} of 60, {name} above the cut",
                partial(above, size=60, width=width, cut=float(stats.norm.isf(share))),
                share,
            )
            for width, name, share in ((4, "a fifth", 0.2), (4, "a tenth", 0.1), (3, "a twentieth", 0.05))
        ),
        ("Gaussian field, length 2 of 26 cells", partial(above, size=26, width=2), 0.5),
        ("disks of radius 5 on 60 cells", partial(blobs, size=60, radius=5, share=0.5), 0.5),
        ("disks of radius 10 on 60 cells", partial(blobs, size=60, radius=10, share=0.6), 0.6),
    ]
    planes += [
        (
            f"adaptive map with an audit of {audit}, {name}",
            partial(filled, plane=plane, audit=audit),
            share,
        )
        for audit, name, plane, share in (
            (256, "Gaussian field, length 4 of 128 cells", partial(above, size=128, width=4), 0.5),
            (256, "specks, a hundredth of 128² cells", partial(specks, size=128, share=0.01), 0.01),
            (64, "islands of 6 cells, a tenth of 128² cells", partial(islands, size=128, share=0.1), 0.1),
        )
    ]
    return [
        Case("BasinFractions.intervals", name, f"{share}", partial(fraction, plane=plane, share=share))
        for name, plane, share in planes
    ]


def _dimensions() -> list[Case]:
    stripe = math.log(2) / math.log(3) + 1
    systems: list[tuple[str, str, Plane, float]] = [
        ("interval", "straight lines, 150²", partial(lines, size=150), 1),
        ("interval", "disks, 150²", partial(disks, size=150), 1),
        ("interval", "Cantor stripes, 200²", partial(stripes, size=200), stripe),
        ("interval", "rough surface, H = 0.5, 150²", partial(rough, size=150, hurst=0.5), 1.5),
        (
            "interval",
            "adaptive map with an audit of 500, disks, 150²",
            partial(filled, plane=partial(disks, size=150), audit=500),
            1,
        ),
        ("fit.interval", "straight lines, 150²", partial(lines, size=150), 1),
        ("fit.interval", "disks, 150²", partial(disks, size=150), 1),
        ("local", "disks, 150², sides 4 to 9", partial(disks, size=150), 1),
        ("local", "straight lines, 150², sides 4 to 9", partial(lines, size=150), 1),
    ]
    fields = {
        "interval": "BoundaryDimension.interval",
        "fit.interval": "BoxFit.interval",
        "local": "BoxFit.local_intervals",
    }
    return [
        Case(fields[part], name, f"{truth:.4g}", partial(dimension, plane=plane, truth=truth, part=part))
        for part, name, plane, truth in systems
    ]


def _exponents() -> list[Case]:
    settled, drifting = 3.0 ** -np.arange(7, 12), 3.0 ** -np.arange(5, 10)
    systems: list[tuple[str, Callable, int, np.ndarray, float, int]] = [
        ("half plane, 1,500 points", half, 1500, np.array([0.005, 0.015, 0.05, 0.15]), 1.0, 2),
        ("half plane, 200 points", half, 200, np.geomspace(0.01, 0.2, 5), 1.0, 2),
        ("Cantor's set, ε 3⁻¹¹ to 3⁻⁷, 1,000 points", cantor, 1000, settled, CANTOR, 1),
        ("Cantor's set, ε 3⁻¹¹ to 3⁻⁷, 10,000 points", cantor, 10_000, settled, CANTOR, 1),
        ("Cantor's set, ε 3⁻⁹ to 3⁻⁵, 1,000 points", cantor, 1000, drifting, CANTOR, 1),
        ("Cantor's set, ε 3⁻⁹ to 3⁻⁵, 10,000 points", cantor, 10_000, drifting, CANTOR, 1),
        ("Cantor's set, ε to 1/9, 500 points", cantor, 500, 3.0 ** -np.arange(2, 8), CANTOR, 1),
        ("Cantor's set, ε to 1/9, 10,000 points", cantor, 10_000, 3.0 ** -np.arange(2, 8), CANTOR, 1),
        ("Cantor's set, ε off its scales, 2,000 points", cantor, 2000, np.logspace(-4, -1, 8), CANTOR, 1),
        ("Cantor's set, ε off its scales, 20,000 points", cantor, 20_000, np.logspace(-4, -1, 8), CANTOR, 1),
        ("Julia set of z² − 1 (D = 1.2683)", julia, 1500, np.geomspace(0.0005, 0.02, 6), 0.7317, 2),
    ]
    found = [
        Case(
            "UncertaintyExponent.interval",
            name,
            f"{truth:.4g}",
            partial(exponent, label_of=label_of, number=number, epsilons=epsilons, truth=truth, size=size),
        )
        for name, label_of, number, epsilons, truth, size in systems
    ]
    return [
        *found,
        Case("UncertaintyExponent.fraction_intervals", "half plane, 400 points", "2ε/π", uncertain_fraction),
    ]


def _wada() -> list[Case]:
    return [
        Case(
            "Wada.intervals",
            f"three fields, boxes of {box} of 60 cells",
            "400 planes",
            partial(wada, box=box),
        )
        for box in (3, 9)
    ]
