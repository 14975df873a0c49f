"""What the process that hands out a recording notes beside its completion marks: who works, and what has failed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage.stores.byte_store import ByteStore

NAME = "workers.json"
WRITE_SECONDS = 2.0
"""The least time between two updates of the notes of a run."""
Count = Annotated[int, Meta(ge=0, le=2**31)]


@dataclass(frozen=True)
class WorkNotes:
    """The numbers of workers and of samples that they compute, and what was set aside.

    `failed` maps the name of each unit that was set aside to its error; `failed_samples` are the samples in them.
    """

    workers: Count = 0
    running: Count = 0
    failed_samples: Count = 0
    failed: Mapping[str, str] = field(default_factory=dict)


class NotesFile:
    """The notes of one run in the folder of its marks, until the block ends; what was set aside stays until it is resumed.

    Notes are no part of the recording: if they cannot be written, the run goes on without them.
    """

    def __init__(self, store: ByteStore, folder: str):
        self._store, self._folder, self._due = store, folder, float("-inf")
        self._notes = WorkNotes()

    def __enter__(self) -> NotesFile:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if self._notes.failed:
                self._write(replace(self._notes, workers=0, running=0))
            else:
                remove(self._store, self._folder)

    def set_aside(self, unit: str, error: str, samples: int) -> None:
        """Note that a unit has failed."""
        former = self._notes
        self._notes = replace(
            former, failed_samples=former.failed_samples + samples, failed={**former.failed, unit: error}
        )

    def update(self, workers: int, running: int) -> None:
        """Note how many workers there are and how many samples they compute, unless that was just done."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + WRITE_SECONDS
        self._notes = replace(self._notes, workers=workers, running=running)
        with suppress(OSError):
            self._write(self._notes)

    def _write(self, notes: WorkNotes) -> None:
        self._store.put(_key(self._folder), json.dumps(asdict(notes)).encode())


def remove(store: ByteStore, folder: str) -> None:
    """Remove the notes of the marks in a folder, if there are any."""
    store.delete(_key(folder))


def read(store: ByteStore, folder: str) -> WorkNotes:
    """Return the notes beside the marks in a folder; empty ones if there are none, or they are damaged."""
    data = store.get(_key(folder))
    try:
        return WorkNotes() if data is None else json_files.parse(data, WorkNotes, NAME)
    except MalformedError:
        return WorkNotes()


def _key(folder: str) -> str:
    return f"{folder}/{NAME}"
