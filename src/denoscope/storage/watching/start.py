"""The start of a recording: a process prepares it, and the output says nothing of it yet.

The announcement is a lock beside the output, which ends with the process: a hidden file on a disk, a claim in a bucket.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing.claims import hidden_beside
from denoscope.foundation.writing.locks import is_locked, locked
from denoscope.storage.places import Place, beside
from denoscope.storage.stores.object_store import ObjectStore

KIND = "start"
_OWN: ContextVar[ExitStack | None] = ContextVar("start", default=None)
"""The announcement of this thread."""


@dataclass(frozen=True)
class Announcement:
    """The process that prepares a recording."""

    pid: int
    host: str


@contextmanager
def announced(place: Place) -> Iterator[None]:
    """Announce that this process prepares a recording, until `end` is called or the block ends.

    Where no file can be made, the recording starts without it.

    Raises: UserError if another process prepares a recording at this place.
    """
    with ExitStack() as stack:
        held = True
        with suppress(OSError):
            held = stack.enter_context(_lock(place))
        if not held:
            raise UserError(
                f"{place} is being written by another process ({who(place)}); wait for it or name another output "
                f"({spelled('out')})"
            )
        token = _OWN.set(stack)
        try:
            yield
        finally:
            _OWN.reset(token)


def end() -> None:
    """End the announcement of this thread, if there is one: the output is locked and tells the rest."""
    if (stack := _OWN.get()) is not None:
        stack.close()


def who(place: Place) -> str:
    """Who prepares a recording at a place, in words; "" if nobody does."""
    if not isinstance(place, Path):
        store, key = beside(place), f".{place.name}.{KIND}"
        assert isinstance(store, ObjectStore)
        return store.holder(key) if store.is_locked(key) else ""
    file = _file(place)
    if not is_locked(file):
        return ""
    try:
        by = json_files.read(file, Announcement)
    except MalformedError:  # it has just been made, or somebody else has written it
        return "another process"
    return f"process {by.pid} on {by.host}"


@contextmanager
def _lock(place: Place) -> Iterator[bool]:
    """Hold the lock of an announcement; the block gets False if another process holds it."""
    if not isinstance(place, Path):
        with beside(place).lock(f".{place.name}.{KIND}") as held:
            yield held
        return
    file = _file(place)
    with locked(file, keep_file=False) as held:
        if held:
            file.write_text(json.dumps(asdict(Announcement(os.getpid(), socket.gethostname()))))
        yield held


def _file(place: Path) -> Path:
    """The hidden file of the announcement of a recording on a disk."""
    folder = place.absolute()
    return hidden_beside(folder if folder.name else folder / "root", KIND)
