"""Refusal of masked arrays, because converting one to a plain array drops its mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled


def check_unmasked(values: Any, name: str) -> None:
    """Refuse a masked array, also within lists at any depth.

    Raises: UserError naming the argument.
    """
    if _holds_mask(values):
        raise UserError(
            f"{spelled(name)} is a masked array; allowed: arrays without a mask, such as {name}.compressed() or "
            f"{name}.filled(value)"
        )


def _holds_mask(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return any(map(_holds_mask, values))
    return isinstance(values, np.ma.MaskedArray)
