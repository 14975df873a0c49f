"""How often the verdict finds what on random planes of known kind, as its docstring and docs/basins.md state."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from label_planes import grid, rough_surface
from scipy import ndimage

from denoscope.dynamics.boundaries.verdict import verdict


def smooth_planes(size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """A line, a disk, three sectors, a wave, and the level line of a smooth field."""
    x, y = grid(size)
    angle, centre = generator.uniform(0, 2 * np.pi), generator.uniform(-0.3, 0.3, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    yield along > generator.uniform(-0.3, 0.3)
    yield np.hypot(x - centre[0], y - centre[1]) < generator.uniform(0.3, 0.6)
    turned = (np.arctan2(y - centre[1], x - centre[0]) + angle) % (2 * np.pi)
    yield np.floor(turned / (2 * np.pi) * 3).clip(0, 2)
    yield along > 0.3 * np.sin(generator.uniform(3, 6) * across + angle)
    field = ndimage.gaussian_filter(generator.standard_normal((2 * size, 2 * size)), size / 8)
    yield field[size // 2 :, size // 2 :][:size, :size] > 0


@pytest.mark.slow
def test_smooth_boundaries_are_called_smooth_as_often_as_stated():
    found = Counter(
        verdict(plane.astype(int)).verdict
        for size in (40, 85)
        for seed in range(36)
        for plane in smooth_planes(size, np.random.default_rng([size, seed]))
    )
    assert found == {"smooth": 339, "undecided": 21}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "hurst", "planes", "stated"),
    [
        (85, 0.5, 60, {"fractal": 1, "undecided": 59}),
        (150, 0.5, 30, {"fractal": 5, "undecided": 25}),
        (300, 0.5, 8, {"fractal": 5, "undecided": 3}),
        (85, 0.8, 100, {"undecided": 100}),
        (150, 0.8, 40, {"undecided": 40}),
        (85, 0.9, 60, {"smooth": 2, "undecided": 58}),
        (150, 0.9, 40, {"undecided": 40}),
    ],
)
def test_rough_surfaces_are_called_fractal_as_often_as_stated(size, hurst, planes, stated):
    found = Counter(
        verdict(rough_surface(size, hurst, np.random.default_rng(seed))).verdict for seed in range(planes)
    )
    assert found == stated
