"""The callback that reports the progress of a long computation."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that a computation calls after each piece of work.

    >>> def progress(done: int, total: int | None) -> None:
    ...     print(f"{done}/{total or '?'}")

    `total` is None while nobody knows how much work there is, as for an adaptive map; the last call names it.
    """

    def __call__(self, done: int, total: int | None, /) -> None: ...
