"""Validation of single arguments: `parse_x` returns the value in its Python type, `check_x` returns nothing."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import counted, spelled

LARGEST_INTEGER = 2**63 - 1
"""The largest integer that arrays, files and random generators hold."""


def parse_integer(
    value: Any, name: str, *, minimum: int = 0, maximum: int | None = None, note: str = ""
) -> int:
    """The value as an `int` between `minimum` and `maximum`, both inclusive.

    Integers of NumPy are accepted; booleans and floats are not.

    Args:
        name: the argument, as Python spells it.
        note: a remark on the bounds, which ends the message.

    Raises: UserError naming the argument, its value and the allowed range.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or not minimum <= int(value) <= (LARGEST_INTEGER if maximum is None else maximum):
        span = f"{'' if is_integer else 'integers '}{minimum} to {maximum}"
        bound = " and below 2**63" if is_integer and int(value) > LARGEST_INTEGER else ""
        allowed = f"an integer of at least {minimum}{bound}" if maximum is None else span
        raise UserError(f"{spelled(name)} is {describe(value)}; allowed: {allowed}{note and ', ' + note}")
    return int(value)


def parse_real(
    value: Any,
    name: str,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
    maximum: float = math.inf,
    example: str = "",
) -> float:
    """The value as a finite `float` within the bounds; `above` and `below` are exclusive.

    Raises: UserError naming the argument, its value, the allowed range and the example.
    """
    is_finite = isinstance(value, numbers.Real) and not isinstance(value, bool) and _is_finite(value)
    if not is_finite or not (above < float(value) < below and minimum <= float(value) <= maximum):
        bounds = {"above": above, "of at least": minimum, "below": below, "at most": maximum}
        allowed = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
        number = f"a number {' and '.join(allowed)}" if allowed else "a finite number"
        raise UserError(
            f"{spelled(name)} is {describe(value)}; allowed: {number}{example and f' (for example {example})'}"
        )
    return float(value)


def check_flag(value: Any, name: str) -> None:
    """Refuse a value that is not True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{spelled(name)} is {describe(value)}; allowed: True or False")


def check_callable(value: Any, name: str, arguments: Sequence[str], result: str) -> None:
    """Refuse a value that is not a function of these arguments, such as points, to a result, such as labels."""
    if not callable(value):
        taken = arguments[0] if len(arguments) == 1 else f"({', '.join(arguments)})"
        raise UserError(f"{spelled(name)} is {describe(value)}; allowed: a function from {taken} to {result}")
    check_call(value, arguments, spelled(name))


def check_call(function: Callable[..., Any], arguments: Sequence[str], where: str) -> None:
    """Refuse a function that cannot be called with these arguments by position.

    A function that does not state its signature, as many of NumPy and PyTorch, is left to its own errors.

    Args:
        arguments: their names or types, for the message.
        where: how the message names the argument that is the function.

    Raises: UserError with the function, its signature and the call.
    """
    # A module takes what its forward takes; its own __call__ takes anything.
    signature = _signature(getattr(function, "forward", function))
    if signature is None:
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        raise UserError(
            f"{where} is {name}{signature.replace(return_annotation=inspect.Signature.empty)}, which is called as "
            f"{name}({', '.join(arguments)}); allowed: a function of {counted(len(arguments), 'argument')}"
        ) from None


def parse_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """The value if it is one of the choices.

    Raises: UserError naming the argument, its value and the choices.
    """
    allowed = tuple(choices)
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{spelled(name)} is {describe(value)}; allowed: {', '.join(allowed)}")
    return value


def describe(value: Any) -> str:
    """The repr of a value if it is short, otherwise its type, for use in a message."""
    try:
        text = "" if isinstance(value, Generator) else repr(value)
    except ValueError:  # an integer with more digits than Python converts to a string
        text = ""
    if 0 < len(text) <= 60 and "\n" not in text:
        return text
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' or name == 'ndarray' else 'a'} {name}"


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer beyond the range of floats
        return False
