"""Jobs that one thread works off, newest first, a piece at a time, so that each can be cancelled between its pieces."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from denoscope.foundation.errors import UserError

AT_ONCE = 0
"""The rank of what a user waits for."""
Report = Callable[[Any], None]


@dataclass(eq=False)
class Job:
    """Work that yields what it has so far, and where its news goes."""

    rank: int
    """Jobs of the lowest rank come first."""
    work: Callable[[], Iterator[Any]]
    report: Report
    """Called in the thread of the queue with each result, with the exception that ended the work, or with DONE."""
    order: tuple[int, int] = (0, 0)
    cancelled: bool = False
    results: Iterator[Any] | None = field(default=None, repr=False)


class Done:
    """The last report of a job that was finished."""


DONE = Done()


def once(work: Callable[[], Any]) -> Callable[[], Iterator[Any]]:
    """Work that yields what a function returns."""

    def results() -> Iterator[Any]:
        yield work()

    return results


class JobQueue:
    """A queue and its thread. Within a rank the newest batch comes first, and a batch in its own order."""

    def __init__(self, most: int = 64):
        self._most = most
        self._jobs: list[Job] = []
        self._batches = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="denoscope explorer", daemon=True
        )
        self._thread.start()

    def __len__(self) -> int:
        with self._changed:
            return len(self._jobs)

    def submit(self, jobs: list[Job]) -> None:
        """Add a batch of jobs.

        Raises: UserError if the queue is full.
        """
        with self._changed:
            waiting = sum(not job.cancelled for job in self._jobs)
            if waiting + len(jobs) > self._most:
                raise UserError(f"{waiting} requests wait; allowed: {self._most}; close other pages")
            batch = next(self._batches)
            for number, job in enumerate(jobs):
                job.order = (-batch, number)
            self._jobs += jobs
            self._changed.notify()

    def add(self, work: Callable[[], Iterator[Any]], report: Report, *, rank: int = AT_ONCE) -> Job:
        """Add one job.

        Raises: UserError if the queue is full.
        """
        job = Job(rank, work, report)
        self.submit([job])
        return job

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drop jobs. One that is at work ends after its present piece."""
        with self._changed:
            for job in jobs:
                job.cancelled = True
            self._changed.notify()

    def stop(self, timeout: float = 5.0) -> None:
        """Drop all jobs and end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            if job.cancelled:
                self._end(job)
                continue
            try:
                if job.results is None:
                    job.results = job.work()
                result = next(job.results, DONE)
            except Exception as error:  # a model that fails on a tile must not end the explorer
                result = error
            if isinstance(result, (Done, Exception)):
                self._end(job)
            if not job.cancelled:
                job.report(result)
        for job in list(self._jobs):
            self._end(job)

    def _next(self) -> Job | None:
        """The job to work on, as soon as there is one; None after `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._jobs)
            if self._stopped:
                return None
            dropped = (job for job in self._jobs if job.cancelled)
            return next(dropped, None) or min(self._jobs, key=lambda job: (job.rank, job.order))

    def _end(self, job: Job) -> None:
        with self._changed:
            self._jobs.remove(job)
        if isinstance(job.results, Generator):
            with suppress(Exception):  # closing may write to a cache that has become full
                job.results.close()
