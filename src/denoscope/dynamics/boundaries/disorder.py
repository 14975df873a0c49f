"""Whether neighbouring cells know of each other: what tells a fine boundary from noise that differs per cell."""

from __future__ import annotations

import numpy as np

from denoscope.dynamics.boundaries.label_plane import classes_of

WINDOW = 4
"""Side of the windows within which cells are compared."""
NOISY = 0.9
"""Disorder above which labels count as noise: Newton's fractal has 0.6, per-cell noise 0.97 to 1."""


def cell_disorder(labels: np.ndarray) -> float:
    """How often neighbours differ, over how often any two cells of the same window of 4×4 cells do.

    R = Σ_w P_w(neighbours differ) / Σ_w P_w(two cells differ), w over all windows. Without unit. 1 where the cells of a
    window could be shuffled and nobody would notice: each cell's label is then drawn on its own, be its probabilities
    ever so ordered. A straight boundary has 0.4, Newton's z³−1 0.6. 0 where no window holds two labels.
    Misleads: basins that are one cell wide have it near 1 without being noise; a plane cannot tell the two.
    """
    beside = _window_sums(labels[:, 1:] != labels[:, :-1], WINDOW, WINDOW - 1)
    below = _window_sums(labels[1:] != labels[:-1], WINDOW - 1, WINDOW)
    neighbours, ordered_pairs = 2 * WINDOW * (WINDOW - 1), WINDOW**2 * (WINDOW**2 - 1)
    unlike = beside.size * ordered_pairs
    for label in classes_of(labels):
        members = _window_sums(labels == label, WINDOW, WINDOW)
        unlike -= int((members * (members - 1)).sum())
    return int(beside.sum() + below.sum()) / neighbours / (unlike / ordered_pairs) if unlike else 0.0


def touching_cells(labels: np.ndarray) -> int:
    """How many cells differ from any of their four neighbours; edges left out."""
    return int(_differing(labels).any(axis=0).sum())


def isolated_share(labels: np.ndarray) -> float:
    """The share of cells that differ from all four neighbours, among those that differ from any; edges left out."""
    touching = touching_cells(labels)
    return float(_differing(labels).all(axis=0).sum() / touching) if touching else 0.0


def _differing(labels: np.ndarray) -> np.ndarray:
    """Whether each inner cell differs from the one above, below, left and right of it [4, ny − 2, nx − 2]."""
    around = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    return np.stack([labels[1:-1, 1:-1] != other for other in around])


def _window_sums(marked: np.ndarray, high: int, wide: int) -> np.ndarray:
    """How many cells are marked in each window of high × wide cells."""
    sums = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = marked.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
