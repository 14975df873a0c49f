"""What every estimate checks before it draws: its arrays, its seed, its confidence."""

from __future__ import annotations

from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer, parse_real


def as_array(values: Any, name: str) -> np.ndarray:
    """The values as an array, refused where their rows are of unequal length."""
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"{name}: rows of unequal length; allowed: an array, all rows equally long") from None


def generator(seed: Any) -> np.random.Generator:
    """A stream of random numbers that the seed repeats."""
    return np.random.default_rng(parse_integer(seed, "seed"))


def checked_confidence(confidence: Any) -> float:
    """A confidence, refused where it is none."""
    return parse_real(confidence, "confidence", above=0, below=1, example="0.95")
