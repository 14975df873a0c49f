"""The largest difference of two arrays, NaN and Inf included."""

from __future__ import annotations

import numpy as np


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """max |first − second|, where equal values and two NaN differ by 0, and NaN differs from a number by infinity."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):  # Inf − Inf, where both are the same
        differences = np.nan_to_num(np.abs(first - second), nan=np.inf, posinf=np.inf)
    return float(np.where(same, 0, differences).max(initial=0))
