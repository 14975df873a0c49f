"""Weighted straight lines, many at a time."""

from __future__ import annotations

import numpy as np


def weighted_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept [...] of y [..., n] over x [n] by least squares with weights [..., n].

    A weight of 0 leaves a point out; a line through fewer than two points is NaN. `np.polyfit` takes one set of
    weights for all lines; here each line, such as that of a bootstrap draw, has its own.
    """
    total = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = (weights * x).sum(axis=-1) / total, (weights * y).sum(axis=-1) / total
        from_x, from_y = x - mean_x[..., None], y - mean_y[..., None]
        slope = (weights * from_x * from_y).sum(axis=-1) / (weights * from_x**2).sum(axis=-1)
    enough = (weights > 0).sum(axis=-1) >= 2
    slope = np.where(enough, slope, np.nan)
    return slope, mean_y - slope * mean_x
