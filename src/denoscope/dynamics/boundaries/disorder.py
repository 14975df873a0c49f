"""The disorder of neighbouring cells, which distinguishes a fine boundary from noise that differs between cells."""

from __future__ import annotations

import numpy as np

from denoscope.dynamics.boundaries.label_plane import classes_of

WINDOW = 4
"""Side in cells of the windows in which cells are compared."""
NOISY = 0.9
"""Disorder from which labels count as noise: Newton's fractal has 0.7, labels drawn for each cell 1."""


def cell_disorder(labels: np.ndarray) -> float:
    """How often neighbouring cells differ, divided by how often any two cells of the same 4×4 window differ.

    R = Σ_w P_w(neighbours differ) / Σ_w P_w(two cells differ), summed over all windows w. Dimensionless. R is 1 if the
    cells of a window are exchangeable: the label of each cell is then drawn independently, even if its probabilities
    vary smoothly over the plane. A straight boundary has 0.4 to 0.5, by its direction, Newton's z³ = 1 on 300² cells has
    0.7, a plane of one class 0.

    Caveats: basins that are one cell wide also have R near 1; a single plane cannot distinguish them from noise.
    """
    beside = _window_sums(labels[:, 1:] != labels[:, :-1], WINDOW, WINDOW - 1)
    below = _window_sums(labels[1:] != labels[:-1], WINDOW - 1, WINDOW)
    neighbours, ordered_pairs = 2 * WINDOW * (WINDOW - 1), WINDOW**2 * (WINDOW**2 - 1)
    unlike = beside.size * ordered_pairs
    for label in classes_of(labels):
        members = _window_sums(labels == label, WINDOW, WINDOW)
        unlike -= int((members * (members - 1)).sum())
    return int(beside.sum() + below.sum()) / neighbours / (unlike / ordered_pairs) if unlike else 0.0


def boundary_cells(labels: np.ndarray) -> int:
    """The number of inner cells that differ from at least one of their four neighbours."""
    return int(_differing(labels).any(axis=0).sum())


def isolated_share(labels: np.ndarray) -> float:
    """The share of the inner boundary cells that differ from all four neighbours."""
    cells = boundary_cells(labels)
    return float(_differing(labels).all(axis=0).sum() / cells) if cells else 0.0


def _differing(labels: np.ndarray) -> np.ndarray:
    """Whether each inner cell differs from the cell above, below, left and right of it [4, ny − 2, nx − 2]."""
    around = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    return np.stack([labels[1:-1, 1:-1] != other for other in around])


def _window_sums(marked: np.ndarray, height: int, width: int) -> np.ndarray:
    """The number of marked cells in each window of height × width cells."""
    sums = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = marked.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
