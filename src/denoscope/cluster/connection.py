"""A connection to workers: processes of this machine, a scheduler that runs already, or jobs of a batch system."""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

from denoscope.cluster import job_options, scheduler
from denoscope.cluster.job_options import LOOPBACK
from denoscope.cluster.kept_jobs import kept_jobs
from denoscope.cluster.scheduler import check_scheduler, unreachable
from denoscope.cluster.source import Address, Jobs, Local, Source, parse
from denoscope.foundation.errors import UserError, first_line, missing_library
from denoscope.foundation.spelling import counted, spelled
from denoscope.foundation.validation import check_flag, describe

if TYPE_CHECKING:
    from distributed import Client

LOGGER = logging.getLogger(__name__)
WORKER_SECONDS = 30
"""How long a worker of a running scheduler is waited for; the first job in a queue is waited for without limit."""
CHECK_SECONDS = 1
"""Between two checks whether the first job may still come."""
REPLACED = {"distributed.deploy.lost-worker-timeout": "1000 days"}
"""After this time Dask checks once whether a dead worker was replaced. If its replacement has just died too, Dask gives the
place up for good. A process of this machine is always replaced, and jobs are looked after by `KeptJobs`."""
OF_LOCAL_WORKERS = {
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.profile.enabled": False,
}
"""Dask's settings for processes of this machine. The profile looks at all threads a hundred times a second, which takes time
from their work."""
UNITS = 8
"""Units for each worker in one request. It ends with its slowest unit, so with more units workers are idle for less of the time."""
LOGGERS = ("distributed", "tornado", "asyncio", "dask_jobqueue")
"""The loggers of Dask, whose lines about workers that come and go are repeated by messages of denoscope."""


@contextmanager
def connected(text: str, *, threads: int = 1, preload: Sequence[str] = ()) -> Iterator[Client]:
    """A client of the workers that `--cluster` names, while the block runs; it ends those that it started.

    Args:
        threads: the CPU threads of each worker, from which follows how many fit on this machine.
        preload: modules that workers of this machine need. They are imported once, in a process from which the workers
            are forked, so that a worker that takes the place of a dead one is ready at once.

    Raises: UserError if Dask is not installed, or the workers cannot be reached or started.
    """
    source = parse(text)
    _check_installed("distributed")
    import dask

    with (
        _quiet(),
        dask.config.set(REPLACED),
        _started(source, threads, preload) as (target, check),
        _client_of(target, check) as client,
    ):
        # Without bokeh, Dask's page only says that it is missing.
        if not isinstance(source, Address) and importlib.util.find_spec("bokeh") is not None:
            LOGGER.info("workers and their progress: %s", client.dashboard_link)
        yield client


@contextmanager
def _started(
    source: Source, threads: int, preload: Sequence[str]
) -> Iterator[tuple[Any, Callable[[], None]]]:
    """What a client connects to, a scheduler's address or a cluster that is started, and a check whether workers may still
    come."""
    if isinstance(source, Address):
        yield source.address, lambda: None
    elif isinstance(source, Local):
        with _local(source, threads, preload) as cluster:
            yield cluster, lambda: None
    else:
        with kept_jobs(source) as jobs:
            yield jobs.cluster, jobs.check


def units_together(client: Client | None) -> int:
    """The number of units to ask workers for in one request; 1 without workers."""
    return 1 if client is None else UNITS * max(1, len(client.nthreads()))


def check_source(text: str) -> None:
    """Refuse a source of workers whose library is missing or whose file is wrong; nothing is started.

    Raises: UserError as `connected` does.
    """
    source = parse(text)
    _check_installed("distributed")
    if isinstance(source, Jobs):
        job_options.read(source)


def planned_workers(text: str, *, threads: int = 1) -> int | None:
    """How many workers `--cluster` names, each with so many CPU threads; None for those of a scheduler that runs already.

    Raises: UserError if it names none, or its file cannot be used.
    """
    source = parse(text)
    if isinstance(source, Local):
        return _count(source, threads)
    return int(job_options.read(source)["workers"]) if isinstance(source, Jobs) else None


def check_client(client: object, *, allow_different_devices: bool) -> None:
    """Refuse a `client` that is neither None nor a client of Dask, which is not imported for that.

    Raises: UserError for that, and if different devices are allowed without a client.
    """
    dask = sys.modules.get("distributed")
    if client is not None and (dask is None or not isinstance(client, dask.Client)):
        raise UserError(
            f"{spelled('cluster')} is {describe(client)}; allowed: a dask.distributed.Client, such as Client(n_workers=2)"
        )
    check_flag(allow_different_devices, "allow_different_devices")
    if client is None and allow_different_devices:
        raise UserError(
            f"{spelled('allow_different_devices', True)} is given without {spelled('cluster')}; leave it out"
        )


def check_uncompiled(fast: bool) -> None:
    """Refuse to compile the network where workers compute."""
    if fast:
        raise UserError(
            f"{spelled('fast', True)} compiles the network, which workers do not; leave out {spelled('fast', True)} "
            f"or {spelled('cluster')}"
        )


def _check_installed(library: str) -> None:
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise missing_library(spelled("cluster"), library, "cluster") from error


@contextmanager
def _local(source: Local, threads: int, preload: Sequence[str]) -> Iterator[Any]:
    """Worker processes of this machine, which only this machine can reach."""
    import dask
    from distributed import LocalCluster

    count = _count(source, threads)
    LOGGER.info("starting %s on this machine", counted(count, "worker"))
    multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", *preload])
    forkserver.ensure_running()
    with (
        dask.config.set(OF_LOCAL_WORKERS),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=f"{LOOPBACK}:0",
            memory_limit=0,  # the plan checks the memory; Dask would pause a worker whose libraries need much
            env={"DENOSCOPE_LOCAL_WORKER": "1"},
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _count(source: Local, threads: int) -> int:
    return source.count or _fitting(threads)


def _fitting(threads: int) -> int:
    """As many workers as there are cores for their threads; one where there is a GPU, which all of them would share."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if torch.cuda.is_available() else max(1, cores // threads)


@contextmanager
def _client_of(target: Any, check: Callable[[], None]) -> Iterator[Client]:
    """A client of a scheduler's address or of a cluster that was started."""
    from distributed import Client

    is_address = isinstance(target, str)
    if is_address:
        check_scheduler(target)
    try:
        client = Client(target, timeout=scheduler.CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        if is_address:
            raise unreachable(target, error) from error
        raise UserError(
            f"{spelled('cluster')}: the scheduler that was started cannot be reached within {scheduler.CONNECT_SECONDS} "
            f"seconds: {first_line(error)}"
        ) from error
    try:
        if not client.nthreads():
            LOGGER.info("waiting for the first worker")
        if is_address:
            _wait_for_worker(client, target)
        else:
            _wait_for_start(client, check)
        yield client
    finally:
        client.close(timeout=scheduler.CONNECT_SECONDS)


def _wait_for_worker(client: Client, address: str) -> None:
    """Wait a while for a worker of a scheduler that runs already."""
    from denoscope.cluster.lost_scheduler import is_lost

    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        if is_lost(client):
            raise unreachable(address, error) from error
        raise UserError(
            f"{spelled('cluster')}: {address} has no workers; start some with dask worker {address} --nthreads 1"
        ) from error


def _wait_for_start(client: Client, check: Callable[[], None]) -> None:
    """Wait for a worker that is being started, as long as a check finds that one may come."""
    while True:
        try:
            return client.wait_for_workers(1, timeout=CHECK_SECONDS)
        except TimeoutError:
            check()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own lines off the screen; its configuration sets levels of single modules, too."""
    names = [
        name for name in [*LOGGERS, *logging.root.manager.loggerDict] if name.partition(".")[0] in LOGGERS
    ]
    former = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in former.items():
            logging.getLogger(name).setLevel(level)
