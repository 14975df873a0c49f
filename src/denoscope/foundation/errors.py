"""The exceptions for a user's mistakes, and for work that remains unfinished."""

import errno
import re
from collections.abc import Mapping

LISTED = 20
"""Parts of unfinished work that a message names; the others are counted."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that control a terminal, except tab and line feed."""
LACK_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "can't start new thread",
    "could not create a primitive",  # oneDNN, where it cannot allocate one
    "could not execute a primitive",
)
"""Phrases in the message of a RuntimeError that show a lack of memory."""


def escaped(text: str) -> str:
    """A text whose control characters are spelled out, so that a name in it cannot control the terminal."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class UserError(ValueError):
    """A mistake in a call or command, in one line: what was received, what is allowed, how to correct it."""

    def __init__(self, message: object = ""):
        # A name or a library's message may contain line breaks.
        super().__init__(escaped(str(message).replace("\n", " ").replace("\r", " ")))


def missing_library(feature: str, library: str, extra: str, *, otherwise: str = "") -> UserError:
    """The error where a library is missing that an extra of denoscope installs.

    Args:
        feature: what needs the library, at the start of the message.
        otherwise: another remedy, at its end.
    """
    remedy = f'install it: pip install "denoscope[{extra}]"'
    return UserError(f"{feature} needs {library}, which is not installed; {remedy}{otherwise}")


class NetworkError(UserError):
    """A network that cannot be called, or whose output no scheduler takes, whatever the other arguments are."""


class WrongCallError(UserError, TypeError):
    """A call with an unknown, a missing or a superfluous argument, which Python itself reports as a TypeError."""


class UnknownIndexError(UserError, IndexError):
    """An index beyond the end of a sequence; iteration over a sequence ends with an IndexError."""


class UnknownKeyError(UserError, KeyError):
    """A key that a mapping does not have, such as a layer that was not recorded."""

    __str__ = Exception.__str__  # that of KeyError quotes the whole message


class UnfinishedError(RuntimeError):
    """Work of which some parts were set aside because they failed; all others are stored.

    `parts` maps the name of each such part to its error. It is empty where the scheduler of a cluster was lost.
    """

    def __init__(self, message: str, parts: Mapping[str, str]):
        super().__init__(message, parts)
        self.parts = dict(parts)

    def __str__(self) -> str:
        listed = [f"  {name}: {error}" for name, error in list(self.parts.items())[:LISTED]]
        more = [f"  and {len(self.parts) - LISTED} more"] if len(self.parts) > LISTED else []
        return escaped("\n".join([str(self.args[0]), *listed, *more]))


def first_line(error: BaseException) -> str:
    """The first line of another library's error message, for use in a one-line message.

    If that line ends in a colon, the next line is added.
    """
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        type(error).__name__
    ]
    return f"{first} {rest[0]}" if first.endswith(":") and rest else first


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether Python, PyTorch or the system could not allocate memory or start a thread."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return any(phrase in str(error).lower() for phrase in LACK_OF_MEMORY)
    return isinstance(error, MemoryError)
