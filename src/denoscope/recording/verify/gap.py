"""How far two arrays are from each other, NaN and Inf included."""

from __future__ import annotations

import numpy as np


def gap(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference; infinite where only one side is NaN."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):  # Inf − Inf, where both are the same
        differences = np.nan_to_num(np.abs(first - second), nan=np.inf, posinf=np.inf)
    return float(np.where(same, 0, differences).max(initial=0))
