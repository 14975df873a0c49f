"""What every estimate checks before it draws: its arrays, its seed, its confidence."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from denoscope.errors import UserError


def as_array(values: Any, name: str) -> np.ndarray:
    """The values as an array, refused where their rows are of unequal length."""
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"{name}: rows of unequal length; allowed: an array, all rows equally long") from None


def generator(seed: Any) -> np.random.Generator:
    """A stream of random numbers that the seed repeats."""
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"seed is {seed!r}; allowed: a whole number of at least 0")
    return np.random.default_rng(int(seed))


def checked_confidence(confidence: Any) -> float:
    """A confidence, refused where it is none."""
    if not isinstance(confidence, numbers.Real) or not 0 < float(confidence) < 1:
        raise UserError(f"confidence is {confidence!r}; allowed: a number between 0 and 1, as 0.95")
    return float(confidence)
