"""Pairs of numbers, one for each axis of a plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe

Number = TypeVar("Number", int, float)


def parse_pair(values: Any, name: str, parse: Callable[[Any, str], Number]) -> tuple[Number, Number]:
    """Two numbers, along u and along v.

    Args:
        parse: checks one of them, given its value and how a message names it.

    Raises: UserError if they are not two, or one of them is refused.
    """
    try:
        first, second = values
    except (TypeError, ValueError):
        raise UserError(
            f"{spelled(name)} is {describe(values)}; allowed: two numbers, along u and along v"
        ) from None
    given = f"{spelled(name)} is {describe(values)}: the number along"
    return parse(first, f"{given} u"), parse(second, f"{given} v")
