"""What runs in the workers: each prepares a run once, keeps it, and does its units.

The scheduler imports this module too, so it imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import os
import pickle
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync

from denoscope.foundation.errors import first_line

LIBRARIES = ("denoscope", "torch", "diffusers", "numpy", "zarr", "dask", "distributed")
"""The libraries whose versions must be the same everywhere."""
BEAT_SECONDS = 1.0
"""The least time between two reports of progress from one unit."""

Beat = Callable[[int], None]
"""Reports how many pieces of a unit are finished; see `Unit`."""


class Prepared(Protocol):
    """A run that is ready for its units: a loaded model, for example."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What decides the results, as JSON values: it must be the same on all workers."""

    def do(self, content: Any, beat: Beat) -> Any:
        """Do a unit; returns a small result of JSON values or bytes, since it passes through the scheduler."""


class Recipe(Protocol):
    """What a worker prepares a run from; it is pickled."""

    def prepare(self) -> Prepared: ...


class WorkerUnfitError(Exception):
    """Why a worker that came late can do no units: it cannot prepare the run, or differs from the compared workers."""


@dataclass
class _Held:
    """A run in this worker: its recipe, and what has become of it."""

    recipe: bytes
    prepared: Prepared | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_HELD: dict[str, _Held] = {}


class HoldRun(WorkerPlugin):
    """Brings the recipe of a run to every worker, also to one that comes later."""

    def __init__(self, run: str, recipe: bytes):
        self.run, self.recipe, self.name = run, recipe, topic_of(run)

    def setup(self, worker: Worker) -> None:
        _HELD[self.run] = _Held(self.recipe)
        ignore_interrupts()
        leave_at_sigterm(worker)

    def teardown(self, worker: Worker) -> None:
        """Say that this worker leaves on purpose, so that no unit is blamed for it."""
        _HELD.pop(self.run, None)
        worker.log_event(topic_of(self.run), {"event": "leaving", "worker": worker.address})


def topic_of(run: str) -> str:
    """The topic of a run's events."""
    return f"denoscope-{run}"


def forget(run: str, dask_scheduler: Any) -> None:
    """Let a scheduler forget the results of a run: it keeps the last thousand events of each topic for as long as it lives."""
    dask_scheduler._broker.truncate(topic_of(run))


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that hands out the units: a terminal sends it to its children, too."""
    is_child = bool(os.environ.get("DENOSCOPE_LOCAL_WORKER"))
    if is_child and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave_at_sigterm(worker: Worker) -> None:
    """Have a worker leave on purpose at SIGTERM, which announces the end of a job.

    A batch system sends it to all processes of the job: to the worker, which would die at once, and to Dask's process
    that watches over the worker, which handles it.
    """
    if worker.nanny is None or threading.current_thread() is not threading.main_thread():
        return

    def leave() -> None:
        worker.loop.add_callback(worker.close, nanny=False, executor_wait=False, reason="SIGTERM")

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)


def versions() -> dict[str, str]:
    """The versions in this process on which results and pickled objects depend."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: _version(name) for name in LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(run: str) -> dict[str, Any]:
    """Prepare a run, and return its description."""
    return dict(_prepared(run).description)


def digest_of(description: Mapping[str, Any]) -> str:
    """SHA-256 of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def do(run: str, unit: str, content: Any, accepted: tuple[str, ...]) -> None:
    """Do a unit of a run, and report its progress and its result.

    The result is reported as an event, which the scheduler passes on. As the result of a task it would stay in this
    worker until it is fetched, and be lost with it.

    Args:
        accepted: the digests of the descriptions that were compared before the first unit.

    Raises: WorkerUnfitError if this worker cannot prepare the run, or its own description is not among them.
    """
    report = _Reports(run, unit)
    report.begin()
    begun_early = run not in _HELD or _HELD[run].prepared is None
    try:
        prepared = _prepared(run)
    except Exception as error:  # whatever loading a model raises
        raise WorkerUnfitError(f"cannot prepare the run: {first_line(error)}") from error
    if digest_of(prepared.description) not in accepted:
        raise WorkerUnfitError("differs from the others (run denoscope cluster check to see how)")
    if begun_early:
        report.begin()  # again: loading the model is no part of the unit
    report.end(prepared.do(content, report.step))


def _prepared(run: str) -> Prepared:
    held = _HELD[run]
    with held.lock:
        if held.prepared is None:
            recipe: Recipe = pickle.loads(held.recipe)
            held.prepared = recipe.prepare()
        return held.prepared


class _Reports:
    """The reports of one attempt at a unit."""

    def __init__(self, run: str, unit: str):
        self._worker, self._topic, self._unit, self._due = get_worker(), topic_of(run), unit, 0.0

    def begin(self) -> None:
        self._deliver("begin")

    def step(self, finished: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + BEAT_SECONDS
            self._worker.log_event(self._topic, self._event("step", finished=finished))

    def end(self, result: Any) -> None:
        self._deliver("end", result=result)

    def _deliver(self, event: str, **content: Any) -> None:
        """Report, and wait until the scheduler has it: only then is it known which unit a worker died of."""
        sync(
            self._worker.loop,
            self._worker.scheduler.log_event,
            topic=self._topic,
            msg=self._event(event, **content),
        )

    def _event(self, event: str, **content: Any) -> dict[str, Any]:
        return {"event": event, "unit": self._unit, "worker": self._worker.address, **content}
