"""Refusal of masked arrays, because converting one to a plain array drops its mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled


def check_unmasked(values: Any, name: str) -> None:
    """Refuse a masked array, also in a list.

    Raises: UserError naming the argument.
    """
    parts = values if isinstance(values, (list, tuple)) else [values]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise UserError(
            f"{spelled(name)} is a masked array; allowed: arrays without a mask, such as {name}.compressed() or "
            f"{name}.filled(value)"
        )
