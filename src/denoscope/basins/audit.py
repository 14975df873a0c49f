"""The random sample of filled cells by which a map is audited."""

from __future__ import annotations

import numpy as np


def sample(filled: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of up to `count` random cells among those that are filled [ny, nx]."""
    cells = np.flatnonzero(filled)
    chosen = np.random.default_rng([seed, len(cells)]).choice(cells, min(count, len(cells)), replace=False)
    rows, columns = np.divmod(np.sort(chosen), filled.shape[1])
    return rows, columns
