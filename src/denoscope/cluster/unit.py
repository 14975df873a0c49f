"""Units of work, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unit:
    """A piece of work that one worker does: its name for people, what the worker gets, and its number of pieces.

    A unit may be begun more than once, also twice at the same time: where a worker seems to be gone and is not.
    """

    name: str
    content: Any
    pieces: int = 1


@dataclass(frozen=True)
class Done:
    """A unit that is finished, and what its worker returned."""

    unit: Unit
    result: Any


@dataclass(frozen=True)
class SetAside:
    """A unit that is given up, and why.

    `cause` is the exception that the unit raised, or None if its workers died.
    """

    unit: Unit
    error: str
    cause: BaseException | None = None


Outcome = Done | SetAside
