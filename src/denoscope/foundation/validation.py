"""Arguments that are numbers, functions or one of several words: refused by name where they are none of these."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from denoscope.foundation.errors import UserError


def whole(value: Any, name: str, *, least: int = 0, most: int | None = None, what: str = "") -> int:
    """A whole number within bounds, both included; `what` says what the upper one is."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= int(value) or (most is not None and int(value) > most):
        bounds = f"{'' if is_whole else 'whole numbers '}{least} to {most}"
        allowed = f"a whole number of at least {least}" if most is None else bounds
        raise UserError(f"{name} is {told(value)}; allowed: {allowed}{what and ', ' + what}")
    return int(value)


def real(
    value: Any,
    name: str,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    example: str = "",
) -> float:
    """A finite number: above or of at least the one, below or up to the other."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and _is_finite(value)
    if not fits or not (above < float(value) < below and least <= float(value) <= most):
        told_bounds = {"above": above, "of at least": least, "below": below, "up to": most}
        bounds = [f"{word} {bound:g}" for word, bound in told_bounds.items() if math.isfinite(bound)]
        allowed = " and ".join(bounds) or "that is finite"
        if math.isfinite(above) and math.isfinite(below):
            allowed = f"between {above:g} and {below:g}"
        raise UserError(
            f"{name} is {told(value)}; allowed: a number {allowed}{example and ', as ' + example}"
        )
    return float(value)


def function(value: Any, name: str, what: str) -> None:
    """Refuse what cannot be called; `what` says what it should make of what."""
    if not callable(value):
        raise UserError(f"{name} is {told(value)}; needed is a function of {what}")


def one_of(value: Any, name: str, words: Iterable[str]) -> str:
    """One of several words."""
    allowed = tuple(words)
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{name} is {told(value)}; allowed: {', '.join(allowed)}")
    return value


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # of a whole number beyond all floats
        return False


def told(value: Any) -> str:
    """A value in a line: as it is written, or by its kind where that is long."""
    written = repr(value)
    return written if len(written) <= 60 and "\n" not in written else f"a {type(value).__name__}"
