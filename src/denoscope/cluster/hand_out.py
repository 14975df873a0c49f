"""Handing out units to workers, and what is done about those that die, hang or fail."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from denoscope.cluster import worker
from denoscope.cluster.connection import WORKER_SECONDS
from denoscope.cluster.crew import POLL_SECONDS, Crew
from denoscope.cluster.lost_scheduler import check_present, is_lost, lost, lost_reported
from denoscope.cluster.unit import Done, Outcome, SetAside, Unit
from denoscope.cluster.worker import WorkerUnfitError, topic_of
from denoscope.foundation.errors import UserError, first_line

LOGGER = logging.getLogger(__name__)
KILL_SECONDS = 60
"""How long the scheduler waits for a hanging worker to end. After that it removes the worker from its list."""
AHEAD, AHEAD_OF_QUICK, QUICK_SECONDS = 2, 4, 1.0
"""Units that are handed out at once, for each worker: one that it does, and one that waits there. While a unit takes less than a second, two
more wait in the scheduler, so that no worker waits for news to go to this process and back."""

_TURNS: MutableMapping[Client, threading.Lock] = weakref.WeakKeyDictionary()
"""One lock for each client: a client passes its events to one listener only, so runs of several threads take turns."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a unit is given up.

    `deaths` workers may die while they do a unit; a worker that leaves on purpose (its walltime, a pre-emption that is
    announced) is not counted. A unit that reports nothing for `silence` seconds hangs: its worker is killed, which
    counts as a death. After `failures` units in a row have failed, and none succeeded, the run ends.
    """

    deaths: int = 3
    silence: float = 1800.0
    failures: int = 20


RULES = Rules()


@dataclass(eq=False)
class _Flight:
    """A unit that was handed out."""

    unit: Unit
    key: str
    future: Future | None = None
    worker: str = ""
    """The worker that does it; empty while it waits."""
    begun: float = 0.0
    heard: float = 0.0
    """When the worker began it, and when it reported last."""
    finished: int = 0
    deaths: int = 0
    explained: bool = False
    """Whether a worker has died or left since the unit was submitted."""
    submissions: int = 0


class HandOut:
    """The units of a run on their way through the workers.

    Args:
        accepted: the descriptions of workers that may do units.
        kept: what is kept if the run ends, and how it goes on, at the end of messages.
        progress: called with the number of newly finished pieces.
        watch: called with this object again and again, at least twice a second.
        stopping: whether no further unit is to be handed out.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        crew: Crew,
        units: Iterable[Unit],
        accepted: Iterable[dict[str, Any]],
        *,
        kept: str,
        rules: Rules = RULES,
        progress: Callable[[int], None] = lambda _: None,
        watch: Callable[[HandOut], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._client: Client = crew.client
        self._run, self._units, self._rules, self._kept = crew.run, iter(units), rules, kept
        self._accepted = tuple(map(worker.digest_of, accepted))
        self._progress, self._watch, self._stopping, self._clock = progress, watch, stopping, clock
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._flights: dict[str, _Flight] = {}
        self._killed: set[str] = set()
        """Workers that are killed because a unit hangs; their death is counted already."""
        self._leaving: set[str] = set()
        self._unfit = ""
        """What was wrong with the worker that was retired last."""
        self._exhausted = False
        self._failures = 0
        self._ahead = AHEAD
        self._counted, self._staffed = float("-inf"), clock()
        self.workers = 0
        """The number of workers, as of the last second."""

    @property
    def running(self) -> list[Unit]:
        """The units that workers do now."""
        return [flight.unit for flight in self._flights.values() if flight.worker]

    def outcomes(self) -> Iterator[Outcome]:
        """What becomes of each unit, as it happens. Units that were not handed out when the run stops are left out.

        Raises:
            UnfinishedError: if the scheduler is gone.
            UserError: if too many units fail in a row, or only unfit workers came.
        """
        with (
            _TURNS.setdefault(self._client, threading.Lock()),
            lost_reported(self._client, self._kept),
        ):
            yield from self._outcomes()

    def _outcomes(self) -> Iterator[Outcome]:
        """The same, while nobody else listens to the events of the client."""
        topic = topic_of(self._run)
        self._client.subscribe_topic(topic, lambda event: self._inbox.put(("report", event[1])))
        self._client.subscribe_topic("all", self._note_workers)
        try:
            while self._fill():
                self._watch(self)
                for outcome in self._next():
                    self._failures = 0 if isinstance(outcome, Done) else self._failures + 1
                    yield outcome
                    if self._failures >= self._rules.failures:
                        assert isinstance(outcome, SetAside)
                        raise UserError(
                            f"{self._failures} units in a row failed, the last with: {outcome.error}; {self._kept}"
                        )
        finally:
            self._cancel(list(self._flights.values()))
            if not is_lost(self._client):
                self._client.unsubscribe_topic(topic)
                self._client.unsubscribe_topic("all")

    def _fill(self) -> bool:
        """Hand out units while there is room; returns whether any are on their way."""
        check_present(self._client)
        if self._clock() - self._counted > 1.0:
            self._count_workers()
        room = self._ahead * max(1, self.workers)
        while not self._exhausted and not self._stopping() and len(self._flights) < room:
            unit = next(self._units, None)
            if unit is None:
                self._exhausted = True
                break
            self._submit(_Flight(unit, ""))
        return bool(self._flights)

    def _count_workers(self) -> None:
        """Count the workers that are there now."""
        self.workers, self._counted = len(self._client.nthreads()), self._clock()
        if self.workers or not self._unfit:
            self._staffed = self._counted
        elif self._counted - self._staffed > WORKER_SECONDS:
            raise UserError(f"no worker is left: {self._unfit}; {self._kept}")

    def _submit(self, flight: _Flight) -> None:
        flight.submissions += 1
        flight.key = f"{flight.unit.name}-{self._run}-{flight.submissions}"
        flight.worker, flight.explained = "", False
        self._flights[flight.key] = flight
        flight.future = self._client.submit(
            worker.do, self._run, flight.key, flight.unit.content, self._accepted, key=flight.key, pure=False
        )
        key = flight.key
        flight.future.add_done_callback(lambda _: self._inbox.put(("end", key)))

    def _next(self) -> Iterator[Outcome]:
        """Wait for news, and yield what follows from them."""
        try:
            kind, news = self._inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            yield from self._end_silent()
            return
        if kind == "report":
            yield from self._hear(news)
        elif kind == "removed":
            yield from self._removed(*news)
        elif kind == "added":
            self._forget(news)
        elif news in self._flights:
            yield from self._ended(self._flights[news])
        yield from self._end_silent()

    def _note_workers(self, event: tuple[float, Any]) -> None:
        news = event[1]
        if news.get("action") == "remove-worker":
            self._inbox.put(("removed", (news["worker"], bool(news.get("expected")))))
        elif news.get("action") == "add-worker":
            self._inbox.put(("added", news["worker"]))

    def _hear(self, report: dict[str, Any]) -> Iterator[Outcome]:
        if report["event"] == "leaving":
            self._leaving.add(report["worker"])
            return
        flight = self._flights.get(report["unit"])
        if flight is None:
            return
        if report["event"] == "end":
            self._ahead = AHEAD_OF_QUICK if self._clock() - flight.begun < QUICK_SECONDS else AHEAD
            self._drop(flight)
            self._advance(flight, flight.unit.pieces)
            yield Done(flight.unit, report["result"])
            return
        flight.worker, flight.heard = report["worker"], self._clock()
        if report["event"] == "begin":
            flight.begun = flight.heard
        self._advance(flight, report.get("finished", 0))

    def _advance(self, flight: _Flight, finished: int) -> None:
        if finished > flight.finished:
            self._progress(finished - flight.finished)
            flight.finished = finished

    def _forget(self, address: str) -> None:
        """Forget what was noted about an address: its worker is gone, and a new one may get it."""
        self._killed.discard(address)
        self._leaving.discard(address)

    def _removed(self, address: str, expected: bool) -> Iterator[Outcome]:
        """A worker is gone; blame the unit that it did, unless it left on purpose."""
        excused = expected or address in self._leaving or address in self._killed
        self._forget(address)
        for flight in [flight for flight in self._flights.values() if flight.worker == address]:
            flight.worker, flight.explained = "", True
            if excused:
                LOGGER.info("worker %s has left; %s is done elsewhere", address, flight.unit.name)
                continue
            yield from self._blame(flight, f"worker {address} died")

    def _blame(self, flight: _Flight, what: str) -> Iterator[Outcome]:
        flight.deaths += 1
        if flight.deaths > self._rules.deaths:
            self._cancel([flight])
            yield SetAside(
                flight.unit,
                f"it was begun {flight.deaths} times, and each time its worker died or hung; the last time, {what}",
            )
        else:
            LOGGER.warning("%s while it did %s, which is done again", what, flight.unit.name)

    def _end_silent(self) -> Iterator[Outcome]:
        """Kill the workers whose units have reported nothing for too long."""
        now = self._clock()
        for flight in list(self._flights.values()):
            address = flight.worker
            if address and now - flight.heard > self._rules.silence and address not in self._killed:
                self._killed.add(address)
                self._kill(address)
                what = f"worker {address} reported nothing for {self._rules.silence:.0f} seconds"
                yield from self._blame(flight, what)

    def _kill(self, address: str) -> None:
        scheduler = self._client.scheduler
        assert scheduler is not None
        self._client.sync(
            scheduler.restart_workers,
            workers=[address],
            timeout=KILL_SECONDS,
            wait_for_workers=False,
            on_error="return",
            stimulus_id=f"denoscope-{self._run}",
        )

    def _ended(self, flight: _Flight) -> Iterator[Outcome]:
        """Dask has given a unit up, or has lost it with its worker or with the scheduler."""
        future = flight.future
        assert future is not None
        if future.status == "cancelled":
            raise lost(self._client, self._kept)
        if future.status != "error":
            # The report of a finished unit comes before Dask's own news. Without it, the worker died.
            self._drop(flight)
            self._submit(flight)
            return
        error, address = future.exception(), flight.worker
        self._drop(flight)
        if isinstance(error, WorkerUnfitError):
            self._retire(address, error)
            self._submit(flight)
        elif isinstance(error, KilledWorker):
            yield from self._killed_by_dask(flight, error)
        else:
            yield SetAside(flight.unit, f"{type(error).__name__}: {first_line(error)}", error)

    def _killed_by_dask(self, flight: _Flight, error: KilledWorker) -> Iterator[Outcome]:
        """Dask has given a unit up by its own count of deaths. Dask also blames units that only waited on the worker."""
        if not flight.explained:  # the workers died before they could report that the unit had begun
            yield from self._blame(flight, f"worker {error.last_worker.address} died")
        if flight.deaths <= self._rules.deaths:
            self._submit(flight)

    def _retire(self, address: str, error: WorkerUnfitError) -> None:
        """Have a worker leave that came late and cannot take part, unless it is gone or leaving already."""
        if not address or address in self._leaving:
            return
        self._unfit = f"worker {address} came late and {error}"
        LOGGER.warning("%s; it gets no units", self._unfit)
        self._leaving.add(address)
        self._client.retire_workers([address])

    def _drop(self, flight: _Flight) -> None:
        self._flights.pop(flight.key, None)
        flight.worker = ""

    def _cancel(self, flights: list[_Flight]) -> None:
        for flight in flights:
            self._drop(flight)
        futures = [flight.future for flight in flights if flight.future is not None]
        if futures and not is_lost(self._client):
            self._client.cancel(futures, force=True)
