"""The workers of one run, each of which holds the run's recipe."""

from __future__ import annotations

import logging
import queue
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future
from distributed.protocol.pickle import dumps

from denoscope.cluster import worker
from denoscope.cluster.lost_scheduler import check_present, is_lost
from denoscope.cluster.worker import HoldRun, Recipe
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.json_values import differences
from denoscope.foundation.spelling import spelled

LOGGER = logging.getLogger(__name__)
SCHEDULER = "the scheduler"
OF_ANOTHER_DEVICE = ("device", "probe_sha256")
"""Entries of a description in which workers on another device than this process may differ from it."""
POLL_SECONDS = 0.5
"""The longest wait for news from the workers. After it, a check shows whether they and the scheduler are still there."""


@dataclass(frozen=True)
class Crew:
    """The workers that hold the recipe of a run."""

    client: Client
    run: str

    def descriptions(self) -> dict[str, dict[str, Any]]:
        """What decides the results on each worker, by its address, after all have prepared the run.

        Workers that end meanwhile are left out.

        Raises:
            UserError: if a worker cannot prepare the run, or none is left.
            ConnectionError: if the scheduler is gone.
        """
        futures = {address: self._submitted(address) for address in addresses(self.client)}
        ended: queue.SimpleQueue[object] = queue.SimpleQueue()
        for future in futures.values():
            future.add_done_callback(ended.put)
        waiting = set(futures)
        while waiting:
            with suppress(queue.Empty):
                ended.get(timeout=POLL_SECONDS)
            check_present(self.client)
            waiting = {address for address in waiting if not futures[address].done()}
            waiting &= set(addresses(self.client))
        found = {}
        for address, future in futures.items():
            if future.status == "error":
                error = future.exception()
                raise UserError(f"worker {address} cannot prepare the run: {first_line(error)}") from error
            if future.status == "finished":
                found[address] = future.result()
        if not found:
            check_present(self.client)
            raise UserError(
                "every worker died while it prepared the run, perhaps for lack of memory; start fewer workers on a "
                f"machine, or workers with more memory ({spelled('cluster')})"
            )
        return found

    def _submitted(self, address: str) -> Future:
        return self.client.submit(
            worker.describe,
            self.run,
            key=f"prepare-{self.run}-{address}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )


@contextmanager
def crew(client: Client, recipe: Recipe) -> Iterator[Crew]:
    """The workers of a client, which hold a recipe while the block runs; so do workers that come later.

    Raises: UserError if the recipe cannot be pickled.
    """
    run = uuid.uuid4().hex[:12]
    try:
        pickled = dumps(recipe)
    except Exception as error:  # whatever the objects of a user raise
        raise UserError(f"the run cannot be sent to workers: {first_line(error)}") from error
    holder = HoldRun(run, pickled)
    client.register_plugin(holder)
    try:
        yield Crew(client, run)
    finally:
        if not is_lost(client):
            with suppress(Exception):  # the scheduler may go at any moment
                client.unregister_worker_plugin(holder.name)
                client.run_on_scheduler(worker.forget, run)


def addresses(client: Client) -> list[str]:
    """The addresses of all workers, in order."""
    return sorted(client.nthreads())


def check_workers(client: Client) -> None:
    """Check that there are workers which run this process's versions and do one task at a time.

    Raises: UserError naming a worker that does not.
    """
    own = worker.versions()
    for name, seen in versions(client).items():
        if differing := differences(own, seen):
            place = name if name == SCHEDULER else f"worker {name}"
            raise UserError(
                f"{place} has other versions than this process ({'; '.join(differing)}); start it in the same environment"
            )


def versions(client: Client) -> dict[str, dict[str, str]]:
    """The versions on each worker, by its address, and on the scheduler.

    Raises: UserError if there are no workers, if one does several tasks at once, or if one cannot run denoscope; what Dask
        raises if the scheduler is gone.
    """
    threads = client.nthreads()
    if several := next((address for address, count in threads.items() if count > 1), None):
        raise UserError(
            f"worker {several} does {threads[several]} tasks at once; allowed: one, as with "
            f"dask worker --nthreads 1 (its PyTorch may use more threads: {spelled('threads')})"
        )
    try:
        found = client.run(worker.versions)
        scheduler = client.run_on_scheduler(worker.versions)
    except Exception as error:
        if is_lost(client):
            raise
        raise UserError(
            f"the workers or their scheduler cannot run denoscope: {first_line(error)}; start them in the "
            "environment of this process"
        ) from error
    if not found:
        raise UserError(f"{spelled('cluster')}: there are no workers; start some with dask worker")
    return {**dict(sorted(found.items())), SCHEDULER: scheduler}


def agreed(
    workers: Crew, own: Mapping[str, Any], *, allow_different_devices: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare the workers with this process; return their distinct descriptions and the differences between them.

    Args:
        own: the description of this process.

    Raises: UserError as `Crew.descriptions` and `accepted` do, and if a worker would compute something else.
    """
    found = workers.descriptions()
    for address, description in found.items():
        elsewhere = allow_different_devices or description["device"] != own["device"]
        compared = [name for name in {**own, **description} if not (elsewhere and name in OF_ANOTHER_DEVICE)]
        expected, given = ({name: each.get(name) for name in compared} for each in (own, description))
        if differing := differences(expected, given):
            raise UserError(
                f"worker {address} would compute something else than this process ({'; '.join(differing)}); it must find "
                "the same model, noises and libraries; a network that was changed after it was loaded cannot be shared"
            )
    return accepted(found, allow_different_devices=allow_different_devices)


def accepted(
    descriptions: Mapping[str, Mapping[str, Any]], *, allow_different_devices: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """The different descriptions of workers in a fixed order, and in what they differ.

    Raises: UserError if they differ and may not.
    """
    by_digest = {worker.digest_of(each): dict(each) for each in descriptions.values()}
    distinct = [by_digest[digest] for digest in sorted(by_digest)]
    differing = sorted({line for other in distinct[1:] for line in differences(distinct[0], other)})
    if differing and not allow_different_devices:
        first = next(iter(descriptions))
        other = next(name for name, each in descriptions.items() if each != descriptions[first])
        shown = "; ".join(differences(descriptions[first], descriptions[other]))
        raise UserError(
            f"workers {first} and {other} differ ({shown}), so that bits depend on who computes a sample; name workers that "
            f"are alike, or allow it ({spelled('allow_different_devices', True)}), which is recorded"
        )
    return distinct, differing
