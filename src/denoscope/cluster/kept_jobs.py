"""Jobs of a batch system in which workers run; a job that ends is replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoscope.cluster import job_options, job_rules
from denoscope.cluster.source import Jobs
from denoscope.foundation.errors import UserError, first_line

LOGGER = logging.getLogger(__name__)
TEND_SECONDS = 15.0
"""Between two looks at the jobs."""
STEADY_SECONDS = 60.0
"""How long a worker must be there for its job to count as one that works. In a batch system that is not asked about its
jobs, also how long a worker may be away: the process may have died, and be starting again in the same job."""
STARTS = 3
"""Jobs in a row that may end early until pauses are made between them, or, before the first worker, the run ends."""
LONGEST_PAUSE = 600.0
QUEUES = {"slurm": ("squeue", "--noheader", "--format=%A", "--user={user}")}
"""Commands that print the numbers of a user's jobs that wait, run or end."""
ANSWER_SECONDS = 60


@dataclass
class _Place:
    """A job that is wanted, and what has become of it so far."""

    arrived: float | None = None
    """When a worker of the present job was first seen."""
    seen: float = 0.0
    """When a worker of the present job was last seen."""
    early: int = 0
    """The jobs in a row that were refused or ended early."""
    problem: str = ""
    """Why the last of them was."""
    over: object = None
    """The job whose end has been noted."""
    due: float = 0.0
    """When the next job is to be submitted."""


class KeptJobs:
    """The jobs of a cluster of dask-jobqueue.

    Dask replaces a job only if its worker has been there, and gives a job up for good that is refused once. Therefore
    every job is looked after here: what has ended, or was refused, is submitted again.

    Args:
        cluster: jobs of a class made by `_noting`.
        clock: seconds, from any moment on.
    """

    def __init__(self, cluster: Any, source: Jobs, *, clock: Callable[[], float] = time.monotonic):
        self.cluster, self._source, self._clock = cluster, source, clock
        self._places: dict[Any, _Place] = {}

    def check(self) -> None:
        """Check that some job may still bring the first worker.

        Raises: UserError saying why no worker comes.
        """
        places = list(self._places.values())
        if places and all(place.early >= STARTS and place.arrived is None for place in places):
            raise UserError(f"no worker has come: {places[-1].problem}")

    @contextmanager
    def tended(self) -> Iterator[None]:
        """Submit the jobs, and look after them while the block runs.

        Raises: UserError if the batch system refuses every job.
        """
        self.cluster.sync(self.tend)
        refused = [job.refusal for job in self.cluster.workers.values()]
        if all(refused):
            raise UserError(self._about(refused[-1]))
        self.cluster.sync(self._begin)
        try:
            yield
        finally:
            self.cluster.sync(self._end)

    async def _begin(self) -> None:
        self._ending = asyncio.Event()
        self._tending = asyncio.create_task(self._tend_until_the_end())

    async def _end(self) -> None:
        self._ending.set()
        await self._tending

    async def _tend_until_the_end(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TEND_SECONDS)
            if not self._ending.is_set():
                try:
                    await self.tend()
                except (
                    Exception
                ) as error:  # whatever Dask and the batch system raise; the next look may succeed
                    LOGGER.warning("%s", self._about(first_line(error)))

    async def tend(self) -> None:
        """Take note of jobs that have ended or were refused, and submit others for them."""
        jobs, present = self.cluster.workers, self._present()
        away = [name for name in jobs if name not in present]
        queued = await self._queued() if away else None
        now = self._clock()
        for name in present & set(jobs):
            place = self._place(name)
            place.arrived, place.seen = now if place.arrived is None else place.arrived, now
            if now - place.arrived >= STEADY_SECONDS:
                place.early = 0
        for name in away:
            place, job = self._place(name), jobs[name]
            if place.over is not job and self._has_ended(place, job, queued, now):
                place.over = job
                self._note(place, job, now)
                await job.close()
            if place.over is job and now >= place.due:
                del jobs[name]
                place.arrived = None
        await self.cluster  # which submits a job wherever one is missing

    def _present(self) -> set[Any]:
        """The names of the jobs of which a worker is connected."""
        workers = {str(worker.name) for worker in self.cluster.scheduler.workers.values()}
        return {
            name
            for name, spec in self.cluster.worker_spec.items()
            if any(f"{name}{suffix}" in workers for suffix in spec.get("group", [""]))
        }

    def _place(self, name: Any) -> _Place:
        return self._places.setdefault(name, _Place())

    def _has_ended(self, place: _Place, job: Any, queued: set[str] | None, now: float) -> bool:
        """Whether a job without a worker is over, as far as can be known."""
        if job.refusal:
            return True
        if self._source.system in QUEUES:
            return queued is not None and job.job_id not in queued
        return place.arrived is not None and now - place.seen > STEADY_SECONDS

    def _note(self, place: _Place, job: Any, now: float) -> None:
        """Say that a job is over, and decide when the next one is submitted."""
        place.early += 1
        pause = (
            0.0 if place.early < STARTS else min(TEND_SECONDS * 2 ** (place.early - STARTS), LONGEST_PAUSE)
        )
        place.due = now + pause
        following = f"; another one follows in {pause:.0f} seconds" if pause else "; another one follows"
        if place.arrived is not None:
            LOGGER.info("job %s has ended%s", job.job_id, following)
            return
        ended = f"job {job.job_id} ended before its worker came; its output is in {job.log_directory}"
        place.problem = self._about(job.refusal or ended)
        LOGGER.warning("%s%s", place.problem, following)

    async def _queued(self) -> set[str] | None:
        """The numbers of the jobs that the batch system knows; None if it is not asked or does not answer."""
        if self._source.system not in QUEUES:
            return None
        words = [word.format(user=os.getuid()) for word in QUEUES[self._source.system]]
        try:
            return set((await asyncio.to_thread(_printed, words)).split())
        except (OSError, subprocess.SubprocessError):
            return None

    def _about(self, problem: str) -> str:
        return f"{self._source.file}: {problem}"


def _printed(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True).stdout


@contextmanager
def kept_jobs(source: Jobs) -> Iterator[KeptJobs]:
    """The jobs that a file describes, while the block runs; those that are left are cancelled.

    Raises: UserError if the file cannot be used, or the batch system refuses every job.
    """
    options, kind = job_options.read(source), job_rules.cluster_class(source.system)
    count = options.pop("workers")
    with _log_folder(Path(options["log_directory"])):
        try:
            cluster = kind(job_cls=_noting(kind.job_cls), **options)
        except Exception as error:  # jobqueue raises whatever its options cause
            raise UserError(
                f"{source.file}: {kind.__name__} cannot be started: {first_line(error)}"
            ) from error
        with cluster:
            cluster.scale(count)
            jobs = KeptJobs(cluster, source)
            with jobs.tended():
                yield jobs


@contextmanager
def _log_folder(folder: Path) -> Iterator[None]:
    """Remove what was made of a folder while the block ran, unless jobs have printed something into it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()


def _noting(kind: Any) -> Any:
    """A class of dask-jobqueue's jobs that note why they are refused, in place of an error that nobody sees."""

    class NotingJob(kind):
        job_header: str
        refusal = ""

        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            # The folder of what jobs print may hold spaces.
            folder, quoted = f" {self.log_directory}/", f" {shlex.quote(self.log_directory)}/"
            self.job_header = self.job_header.replace(folder, quoted)

        async def start(self) -> None:
            from distributed import Status

            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                self.refusal, self.status = _refusal(self.submit_command, error), Status.running

        async def close(self) -> None:
            from distributed import Status

            await super().close()
            self.status = Status.closed

    return NotingJob


def _refusal(command: str, error: OSError | RuntimeError | ValueError) -> str:
    """Why a job was not submitted."""
    program = command.split()[0]
    if isinstance(error, FileNotFoundError):
        return f"{program} is not installed on this machine; start from a node that may submit jobs"
    # dask-jobqueue's message ends with what the command has printed.
    printed = str(error).rpartition("stderr:")[2].splitlines()
    lines = [line.strip().removeprefix(f"{program}: ").removeprefix("error: ") for line in printed]
    return f"{program} refuses a job: {'; '.join(filter(None, lines)) or first_line(error)}"
