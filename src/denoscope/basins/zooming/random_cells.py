"""Random cells of a map."""

from __future__ import annotations

import numpy as np


def random_cells(marked: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of up to `count` random cells among those that are marked [ny, nx]."""
    cells = np.flatnonzero(marked)
    chosen = np.random.default_rng([seed, len(cells)]).choice(cells, min(count, len(cells)), replace=False)
    rows, columns = np.divmod(np.sort(chosen), marked.shape[1])
    return rows, columns
