"""The curvature of the boundary that passes the middle of a plane of labels."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

LEAST = 8
"""The least number of crossings that determine a curvature with its error."""


def curvature(labels: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """The curvature of the boundary nearest to (0, 0) and its standard error, in 1/L2; NaN if it is too short.

    A parabola is fitted to the places where the label changes between neighbouring cells, within the largest circle about
    (0, 0) that the plane holds, in coordinates along and across the boundary. The error combines that of the residuals with
    a bend by half a spacing within the circle, which cells along an axis do not show. A boundary whose curvature does not
    exceed a few errors is straight to the precision of the cells, or no curve.

    Caveats: a parabola reads 0.5 to 7 % above a circle whose radius is twice the half-width, and 17 % above one of 1.2 times.

    Args:
        labels: integers [ny, nx].
        u, v: [nx] and [ny], evenly spaced and ascending, about 0.
    """
    points = _nearest_boundary(labels, u, v)
    reach = min(-u[0], u[-1], -v[0], v[-1])
    points = points[np.hypot(*points.T) <= reach]
    if len(points) < LEAST:
        return math.nan, math.nan
    along, across = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
    scale = np.hypot(*points.T).max()
    x, y = points @ along / scale, points @ across / scale
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    coefficients, residuals, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    if rank < 3:
        return math.nan, math.nan
    variance = float(residuals[0]) / (len(points) - 3) * np.linalg.inv(design.T @ design)[2, 2]
    shortened = (1 + coefficients[1] ** 2) ** 1.5 * scale
    hidden = max(u[1] - u[0], v[1] - v[0]) / reach**2
    return float(2 * abs(coefficients[2]) / shortened), float(
        math.hypot(2 * math.sqrt(variance) / shortened, hidden)
    )


def _nearest_boundary(labels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The places (u, v) [n, 2] between unlike neighbours on the connected boundary that comes nearest to (0, 0)."""
    ny, nx = labels.shape
    beside, below = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    # Cells lie at even places of a grid twice as fine, their edges at odd ones, and their corners connect the edges.
    fine = np.zeros((2 * ny - 1, 2 * nx - 1), bool)
    fine[::2, 1::2], fine[1::2, ::2] = beside, below
    fine[1::2, 1::2] = beside[1:] | beside[:-1] | below[:, 1:] | below[:, :-1]
    pieces, _ = ndimage.label(fine, structure=np.ones((3, 3), int))
    fine[1::2, 1::2] = False
    rows, columns = np.nonzero(fine)
    points = np.stack([_halfway(u)[columns], _halfway(v)[rows]], axis=1)
    if not len(points):
        return points
    piece = pieces[rows, columns]
    return points[piece == piece[np.hypot(*points.T).argmin()]]


def _halfway(line: np.ndarray) -> np.ndarray:
    """The coordinates of cells and of the places halfway between them."""
    return np.interp(np.arange(2 * len(line) - 1) / 2, np.arange(len(line)), line)
