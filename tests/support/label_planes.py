"""Planes of labels with known properties."""

import functools
from collections.abc import Callable

import numpy as np

ROOTS = np.exp(2j * np.pi * np.arange(3) / 3)


def newton_labels(points: np.ndarray) -> np.ndarray:
    """The number of the root of z³ = 1 that Newton's method reaches from points [..., 2]."""
    z = points[..., 0] + 1j * points[..., 1]
    for _ in range(50):
        z = z - (z**3 - 1) / (3 * z**2)
    return np.abs(z[..., None] - ROOTS).argmin(axis=-1)


RABBIT = complex(-0.12256116687665, 0.74486176661974)
"""c of a Julia set of z² + c that bounds the basins of infinity and of a cycle of three; its dimension is 1.3934.

Source: McMullen, Amer. J. Math. 120, 691 (1998).
"""


def rabbit_labels(z: np.ndarray, steps: int) -> np.ndarray:
    """0 for points whose orbit escapes, else which point of the cycle 0, c, c² + c is nearest after `steps` steps."""
    for _ in range(steps):
        z = np.where(np.abs(z) > 2, z, z * z + RABBIT)
    cycle = np.array([0, RABBIT, RABBIT**2 + RABBIT])
    return np.where(np.abs(z) > 2, 0, 1 + np.abs(z[..., None] - cycle).argmin(axis=-1))


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y [size, size] from −1 to 1, both ends included."""
    line = np.linspace(-1, 1, size)
    return tuple(np.meshgrid(line, line))


def newton(size: int = 300) -> np.ndarray:
    return _newton(size).copy()


@functools.cache
def _newton(size: int) -> np.ndarray:
    return newton_labels(np.stack(grid(size), axis=-1))


def half_plane(size: int, angle: float, offset: float = 0.1) -> np.ndarray:
    x, y = grid(size)
    return (x * np.cos(angle) + y * np.sin(angle) > offset).astype(int)


def rays(size: int, classes: int = 3) -> np.ndarray:
    """Sectors that meet at a point near the middle, their boundaries off the grid's directions."""
    x, y = grid(size)
    turned = np.arctan2(y - 0.05, x - 0.03) / (2 * np.pi) + 0.53
    return np.floor(turned * classes).astype(int) % classes


def disk(size: int, radius: float) -> np.ndarray:
    return (np.hypot(*grid(size)) < radius).astype(int)


def carpet(level: int) -> np.ndarray:
    """Sierpiński's carpet: 3^level cells a side, of which 8^level are 1."""
    plane = np.ones((1, 1), dtype=int)
    for _ in range(level):
        plane = np.kron(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), plane)
    return plane


def gasket(level: int) -> np.ndarray:
    """Sierpiński's triangle, as Pascal's modulo 2: 2^level cells a side, of which 3^level are 1."""
    return (np.bitwise_and(*np.indices((2**level, 2**level))) == 0).astype(int)


def cantor_bars(level: int) -> np.ndarray:
    """Cantor's middle-third set along x, the same in every row."""
    row = np.ones(1, dtype=int)
    for _ in range(level):
        row = np.concatenate([row, np.zeros_like(row), row])
    return np.tile(row, (len(row), 1))


def cantor_stripes(size: int, generator: np.random.Generator) -> np.ndarray:
    """The gaps of Cantor's middle-third set, those of even level 0 and of odd level 1, in a random direction."""
    x, y = grid(size)
    angle = generator.uniform(0, 2 * np.pi)
    place = (x * np.cos(angle) + y * np.sin(angle)) * generator.uniform(0.3, 0.4) + generator.uniform(
        0.3, 0.5
    )
    labels, open_ = np.zeros((size, size), dtype=int), (place > 0) & (place < 1)
    for level in range(12):
        gap = open_ & (place > 1 / 3) & (place < 2 / 3)
        labels[gap], open_ = level % 2, open_ & ~gap
        place = np.where(place >= 2 / 3, 3 * place - 2, 3 * place)
    return labels


def koch(size: int, level: int = 6) -> np.ndarray:
    """The inside of Koch's snowflake, down to levels finer than the cells."""
    corner = np.exp(2j * np.pi * np.array([0.25, -1 / 12, -5 / 12, 0.25])) * 0.9
    for _ in range(level):
        start, side = corner[:-1], np.diff(corner)
        tip = start + side / 2 + 1j * side * np.sqrt(3) / 6
        corner = np.append(
            np.stack([start, start + side / 3, tip, start + 2 * side / 3], axis=1).ravel(), corner[-1]
        )
    return _inside(corner, size)


def _inside(outline: np.ndarray, size: int) -> np.ndarray:
    """Cells inside a closed polygon: a ray to the right crosses an odd number of its sides."""
    line, inside = np.linspace(-1, 1, size), np.zeros((size, size), dtype=int)
    start, end = outline[:-1], outline[1:]
    for k, y in enumerate(line):
        crossing = (start.imag > y) != (end.imag > y)
        a, b = start[crossing], end[crossing]
        at = np.sort(a.real + (y - a.imag) / (b.imag - a.imag) * (b.real - a.real))
        inside[k] = np.searchsorted(at, line) % 2
    return inside


def rough_surface(size: int, hurst: float, generator: np.random.Generator) -> np.ndarray:
    """Whether a surface of spectrum k^(−2H − 2) exceeds its median: its level lines have dimension 2 − H."""
    frequency = np.fft.fftfreq(2 * size)
    k = np.hypot(frequency[:, None], frequency[None, :])
    k[0, 0] = np.inf
    drawn = np.fft.fft2(generator.standard_normal(k.shape)) * k ** -(hurst + 1)
    surface = np.fft.ifft2(drawn).real[:size, :size]
    return (surface > np.median(surface)).astype(int)


def mixture_under_ddpm(size: int, noise: Callable[[], np.ndarray | float]) -> np.ndarray:
    """The labels of two Gaussians at ±m (|m| = 3, variance 0.04) on a plane of half-width 2000.

    What decides is the component along m, and it moves on its own: x_T's is linear in the plane's coordinates. The
    plane's directions have components of 0.045 and 0.0225 along m, as two directions in 16-D well may.
    """
    u, v = (2000 * axis for axis in grid(size))
    x = 0.3 + 0.045 * u + 0.0225 * v
    alphas = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)
    for t in range(980, -1, -20):
        now, then = alphas[t], alphas[t - 20] if t else 1.0
        width = now * 0.04 + 1 - now
        epsilon = np.sqrt(1 - now) / width * (x - np.sqrt(now) * 3 * np.tanh(np.sqrt(now) * 3 * x / width))
        x_0, step = (x - np.sqrt(1 - now) * epsilon) / np.sqrt(now), now / then
        mean = (np.sqrt(then) * (1 - step) * x_0 + np.sqrt(step) * (1 - then) * x) / (1 - now)
        x = mean + np.sqrt((1 - step) * (1 - then) / (1 - now)) * noise()
    return (x > 0).astype(int)
