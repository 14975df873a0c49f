"""What work on a file yields: how far it has come, and the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Finished pieces and the number of all pieces."""

    done: int
    count: int


@dataclass(frozen=True)
class SavedFile:
    """A file for the browser to save."""

    content: bytes
    name: str
    media_type: str
    note: str = ""
    """What the user should know about it."""


Saving = Iterator[Progress | SavedFile]
"""Progress after each piece of work, and the file at the end."""
