"""How far a recording is, from its completion marks."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from denoscope.foundation.errors import LISTED, UserError, escaped
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.spelling import counted
from denoscope.storage import completion
from denoscope.storage.damage import damaged
from denoscope.storage.layouts import LAYOUTS, found, recording_in
from denoscope.storage.output_lock import check_version, how_to_finish
from denoscope.storage.places import Place, store_at
from denoscope.storage.stores.capabilities import WatchableStore
from denoscope.storage.stores.local import replacement_of
from denoscope.storage.watching import start, work_notes
from denoscope.storage.watching.work_notes import WorkNotes

RECENT_SECONDS = 600.0
"""The rate counts the marks of this many seconds before the last one."""


class JustBegunError(UserError):
    """A recording that is being laid out, or put in the place of another one, so that it cannot be read for a moment."""

    def __init__(self, store: WatchableStore):
        super().__init__(f"{store} has just begun; ask again in a moment")


@dataclass(frozen=True)
class Status:
    """How many samples of a recording are done, and who computes the others.

    `rate` is in samples a second, of the last ten minutes in which any were done; None if all were done at once.
    `notes` are those of a run by workers that goes on, or that has set units aside. `starting` says who prepares a run
    that has written nothing yet; a new recording then has 0 samples.
    """

    name: str
    samples: int
    done: int
    is_written: bool
    rate: float | None
    how_to_finish: str
    notes: WorkNotes = field(default_factory=WorkNotes)
    starting: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether somebody writes the recording, or is about to."""
        return self.is_written or bool(self.starting)

    @property
    def remaining(self) -> float | None:
        """Seconds until the recording is complete at this rate; None if nobody writes it."""
        return (self.samples - self.done) / self.rate if self.rate and self.is_written else None

    @property
    def lines(self) -> list[str]:
        """The status in words: the samples, who writes the recording, and what was set aside."""
        if not self.samples:
            return [escaped(f"{self.name}: starting, by {self.starting}")]
        share = f" ({self.done / self.samples:.0%})" if 0 < self.done < self.samples else ""
        lines = [f"{self.name}: {self.done:,} of {self.samples:,} samples are done{share}", *self._writing()]
        if failed := self.notes.failed:
            lines.append(
                f"  failed: {counted(self.notes.failed_samples, 'sample')}, tried again when resumed"
            )
            lines += [f"    {name}: {error}" for name, error in list(failed.items())[:LISTED]]
            lines += [f"    and {len(failed) - LISTED} more"] if len(failed) > LISTED else []
        return [escaped(line.replace("\n", " ")) for line in lines]

    def _writing(self) -> list[str]:
        if self.starting:
            return [f"  starting, by {self.starting}"]
        if not self.is_written:
            return [f"  nobody writes it; {self.how_to_finish}"] if self.done < self.samples else []
        workers, running = self.notes.workers, self.notes.running
        by = (
            f"by {counted(workers, 'worker')}, {counted(running, 'sample')} running"
            if workers
            else "by one process"
        )
        pace = f", {self.rate:.3g} samples/s" if self.rate else ""
        left = f", {_duration(self.remaining)} remaining" if self.remaining is not None else ""
        return [f"  being written {by}{pace}{left}"]


def status(place: Place) -> Status:
    """Return how far a recording is; if it is being replaced, how far the new one is.

    Nothing is written, and no mark is read: a mark that exists is whole. A recording that is only prepared has 0 samples.

    Raises: JustBegunError if it cannot be read yet; UserError if there is no recording, what describes it is damaged, or it cannot be read.
    """
    store = store_at(place)
    try:
        return _status(store, place)
    except OSError as error:
        raise UserError(f"cannot read {store}: {error.strerror or error}; check its permissions") from error


def _status(store: WatchableStore, place: Place) -> Status:
    replacement = replacement_of(store)
    target = replacement or store
    recording = recording_in(target)
    if recording is None or LAYOUTS[recording[0]].is_claimed(recording[1]):
        return _starting(store, place)
    layout, root = LAYOUTS[recording[0]], recording[1]
    check_version(target, root)
    try:
        planned = layout.extent(root)
    except MalformedError as error:
        raise damaged(store, str(error), root.attributes) from error
    marked = [
        (time, len(planned.samples_of(group)))
        for group, time in completion.times(target, layout.MARKS).items()
        if group in planned.groups
    ]
    is_written = store.is_locked(layout.LOCK)
    notes = work_notes.read(target, layout.MARKS)
    return Status(
        name=f"{store}, what replaces it" if replacement else str(store),
        samples=planned.samples,
        done=sum(size for _, size in marked),
        is_written=is_written,
        rate=_rate(marked, _created(root.attributes)),
        how_to_finish=how_to_finish(root.attributes),
        notes=notes if is_written else WorkNotes(failed_samples=notes.failed_samples, failed=notes.failed),
        starting="" if is_written else start.who(place),
    )


def _starting(store: WatchableStore, place: Place) -> Status:
    """The status of a recording that is only prepared.

    Raises: UserError if nobody prepares one; JustBegunError.
    """
    is_locked = any(store.is_locked(layout.LOCK) for layout in LAYOUTS.values())
    if is_locked or not (by := start.who(place)):
        raise _not_there(store)
    return Status(str(store), 0, 0, is_written=False, rate=None, how_to_finish="", starting=by)


def _not_there(store: WatchableStore) -> UserError:
    """The error for a store without a recording, or with one that has just begun."""
    if any(store.is_locked(layout.LOCK) for layout in LAYOUTS.values()):
        return JustBegunError(store)
    try:
        found(store)
    except UserError as error:
        return error
    return JustBegunError(store)


def _created(attributes: Mapping[str, Any]) -> float:
    """When a recording was begun; −∞ if that cannot be read."""
    try:
        return datetime.datetime.fromisoformat(attributes["created"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return -math.inf


def _rate(marked: Sequence[tuple[float, int]], created: float) -> float | None:
    """Samples a second until the last mark, given each mark's time and samples.

    Since the recording was begun or, if that is long ago, since the first of the recent marks.
    """
    last = max((time for time, _ in marked), default=0.0)
    if last - RECENT_SECONDS <= created < last:
        return sum(size for _, size in marked) / (last - created)
    earlier = [time for time, _ in marked if time < last]
    if not earlier:
        return None
    first = min((time for time in earlier if time >= last - RECENT_SECONDS), default=max(earlier))
    return sum(size for time, size in marked if time > first) / (last - first)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
