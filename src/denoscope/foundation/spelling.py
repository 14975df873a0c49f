"""How messages spell an argument: `resume=True` in Python, `--resume` on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_FLAGS: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)


@contextmanager
def as_flags(renamed: Mapping[str, str]) -> Iterator[None]:
    """Spell arguments as flags while the block runs; `renamed` maps arguments to flags of another name."""
    token = _FLAGS.set(renamed)
    try:
        yield
    finally:
        _FLAGS.reset(token)


def spelled(argument: str, value: Any = None) -> str:
    """An argument, with its value if given, in the caller's own spelling.

    >>> spelled("steps"), spelled("resume", True)
    ('steps', 'resume=True')
    >>> with as_flags({"steps": "num_steps"}):
    ...     spelled("steps"), spelled("resume", True), spelled("layers", "conv_in")
    ('--num_steps', '--resume', '--layers conv_in')
    """
    renamed = _FLAGS.get()
    if renamed is None:
        return argument if value is None else f"{argument}={value!r}"
    flag = f"--{renamed.get(argument, argument)}"
    return flag if value is None or value is True else f"{flag} {value}"
