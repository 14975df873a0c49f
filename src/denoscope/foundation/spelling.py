"""How messages spell an argument (`resume=True` in Python, `--resume` on the command line), and numbers of things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from denoscope.foundation.errors import NetworkError, UserError

_FLAGS: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)


@contextmanager
def as_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Spell arguments as flags while the block runs.

    Args:
        flags: the flag of each argument. Other arguments, which the command has no flag for, keep their name.
    """
    token = _FLAGS.set(flags)
    try:
        yield
    finally:
        _FLAGS.reset(token)


def on_command_line() -> bool:
    """Whether arguments are spelled as flags."""
    return _FLAGS.get() is not None


def spelled(argument: str, value: Any = None) -> str:
    """An argument, with its value if given, in the caller's own spelling.

    >>> spelled("steps"), spelled("resume", True)
    ('steps', 'resume=True')
    >>> with as_flags({"steps": "--num_steps", "resume": "--resume", "layers": "--layers"}):
    ...     spelled("steps"), spelled("resume", True), spelled("layers", "conv_in")
    ('--num_steps', '--resume', '--layers conv_in')
    """
    if not (flag := flag_of(argument, "")):
        return argument if value is None else f"{argument}={value!r}"
    return flag if value is None or value is True else f"{flag} {value}"


def flag_of(argument: str, otherwise: str) -> str:
    """The flag of an argument, or another text where there is none: in Python, or for a command without that flag."""
    return (_FLAGS.get() or {}).get(argument, otherwise)


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Begin the message of a UserError in the block with an argument, for values that say nothing of where they were given."""
    try:
        yield
    except NetworkError:
        raise
    except UserError as error:
        raise UserError(f"{spelled(argument)}: {error}") from error


def counted(number: int, noun: str) -> str:
    """A number with its noun, which stands in the plural unless the number is 1.

    >>> counted(1, "worker"), counted(0, "sample"), counted(12345, "file")
    ('1 worker', '0 samples', '12,345 files')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
