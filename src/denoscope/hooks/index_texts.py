"""Texts that choose entries of an axis: "0:8", "::2", "5", "0,3,-1"."""

from __future__ import annotations

import re

from denoscope.foundation.errors import UserError

ALLOWED = "a slice such as 0:8 or ::2, one index such as 5, or a list such as 0,3,7"
_NUMBER = r"\s*(-?[0-9]{1,18})\s*"
_LIST = re.compile(rf"{_NUMBER}(,{_NUMBER})*")
_SLICE = re.compile(rf"({_NUMBER}|\s*):({_NUMBER}|\s*)(:({_NUMBER}|\s*))?")


def parse_choice(text: str) -> slice | list[int] | None:
    """The slice or the indices that a text stands for; None if it is neither."""
    if _LIST.fullmatch(text):
        return [int(part) for part in text.split(",")]
    if not _SLICE.fullmatch(text):
        return None
    chosen = slice(*[int(part) if part.strip() else None for part in text.split(":")])
    # torch has no slices with a negative step.
    return chosen if chosen.step is None or chosen.step > 0 else None


def count(choice: slice | list[int], size: int) -> int:
    """The number of chosen entries of an axis; 0 if an index is out of range."""
    if isinstance(choice, slice):
        return len(range(size)[choice])
    return len(choice) if all(-size <= index < size for index in choice) else 0


def parse_indices(text: str, size: int) -> list[int]:
    """The indices from 0 to size − 1 that a text names on an axis.

    Raises: UserError if the text is not of this form, or names no entry of the axis.
    """
    choice = parse_choice(text)
    if choice is None:
        raise UserError(f"{text!r} is not a choice of indices; allowed: {ALLOWED}")
    if not count(choice, size):
        raise UserError(f"{text!r} does not fit an axis of length {size}; allowed: indices 0 to {size - 1}")
    return list(range(size)[choice]) if isinstance(choice, slice) else [index % size for index in choice]
