"""Paths that a user gives: refused where nothing can be, before anything else looks at them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.spelling import spelled

NAME_BYTES = 255
"""The longest name that file systems take."""


def check_possible(path: str | os.PathLike[str], name: str) -> None:
    """Refuse a path where nothing can be: at or below a loop of links, below a file, of too long a name, out of reach.

    A path where nothing is yet, and a URL, are accepted.

    Args:
        name: the argument, as Python spells it.

    Raises: UserError naming the argument, the path and what the system says.
    """
    if not is_url(path) and (problem := _why_impossible(path)):
        raise UserError(f"{spelled(name)} is {os.fspath(path)}: {problem}; name another path")


def without_links(path: str | os.PathLike[str]) -> Path:
    """The absolute path without links. Unlike Path.resolve, it raises no error at a loop of links."""
    return Path(os.path.realpath(path))


def _why_impossible(path: str | os.PathLike[str]) -> str:
    """What the system says of a path where nothing can be; empty for any other."""
    try:
        os.stat(path)
    except FileNotFoundError:
        # In a folder that does not exist yet, the system says nothing of the names below it.
        is_long = any(len(os.fsencode(part)) > NAME_BYTES for part in Path(path).parts)
        return os.strerror(errno.ENAMETOOLONG) if is_long else ""
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a null character, or one that no file name can hold
        return str(error)
    return ""
