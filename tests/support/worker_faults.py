"""Faults that tests plan in worker processes, which import this module."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import Client, Worker, WorkerPlugin
from torch.nn.modules.module import register_module_forward_pre_hook

from denoscope.noise.noise_set import NoiseSet
from denoscope.recording import provenance
from denoscope.storage.stores import object_store
from denoscope.storage.stores.object_store import ObjectStore

_RENAMED, _SPIED, _SERVED = pytest.MonkeyPatch(), pytest.MonkeyPatch(), pytest.MonkeyPatch()


class Kills(WorkerPlugin):
    """Kills the worker in which the n-th event of all workers happens, for each n that is planned.

    Each call of a network in a worker takes the next number: the files of a folder count them. With `requests`, so do the
    beginning and the end of each request to a bucket.
    """

    name = "kills"

    def __init__(self, folder: Path, at: Iterable[int], *, requests: bool = False):
        self.folder, self.at, self.requests = folder, set(at), requests

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle = register_module_forward_pre_hook(self.call)
        if self.requests:
            _SPIED.setattr(ObjectStore, "_request", self.spied(ObjectStore._request))

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle.remove()
        _SPIED.undo()

    def call(self, module: object, _arguments: object) -> None:
        if type(module).__name__ == "UNet2DModel":
            self.happen()

    def spied(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def spied(*arguments: Any) -> Any:
            self.happen()
            answer = request(*arguments)
            self.happen()
            return answer

        return spied

    def happen(self) -> None:
        if next_number(self.folder) in self.at:
            self.kill()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class EndsJobs(Kills):
    """Ends the worker's job of SLURM at these calls, by a command in which {job} stands for its number, and waits there."""

    def __init__(self, folder: Path, at: Iterable[int], command: str):
        super().__init__(folder, at)
        self.command = command

    def kill(self) -> None:
        subprocess.run(self.command.format(job=os.environ["SLURM_JOB_ID"]).split(), check=True)
        while True:
            time.sleep(60)


class KillsAt(WorkerPlugin):
    """Kills every worker that denoises a certain noise."""

    name = "kills at"

    def __init__(self, noise: torch.Tensor):
        self.noise = noise

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle = register_module_forward_pre_hook(self.call)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle.remove()

    def call(self, module: object, arguments: tuple[Any, ...]) -> None:
        if type(module).__name__ == "UNet2DModel" and any(
            torch.equal(row, self.noise) for row in arguments[0]
        ):
            os.kill(os.getpid(), signal.SIGKILL)


def killing(
    client: Client, folder: Path, at: Iterable[int] = (), *, requests: bool = False
) -> AbstractContextManager[Callable[[], int]]:
    """Kill the workers in which certain events happen while the block runs; yields a count of the events so far."""
    return having(client, Kills(folder, at, requests=requests))


@contextmanager
def having(client: Client, fault: Kills) -> Iterator[Callable[[], int]]:
    """Have a fault happen while the block runs; yields a count of the events so far."""
    fault.folder.mkdir()
    client.register_plugin(fault)
    try:
        yield lambda: sum(1 for _ in fault.folder.iterdir())
    finally:
        client.unregister_worker_plugin(fault.name)


class UsesBucket(WorkerPlugin):
    """Puts the address of an S3 server and its credentials into the environment of every worker, and shortens pauses."""

    name = "bucket"

    def __init__(self, environment: Mapping[str, str]):
        self.environment = environment

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        for name, value in self.environment.items():
            _SERVED.setenv(name, value)
        _SERVED.setitem(object_store.BACKOFF, "init_backoff", timedelta(milliseconds=1))
        _SERVED.setitem(object_store.BACKOFF, "max_backoff", timedelta(milliseconds=5))

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        _SERVED.undo()


@contextmanager
def using_bucket(client: Client, environment: Mapping[str, str]) -> Iterator[None]:
    """Let all workers reach an S3 server while the block runs."""
    client.register_plugin(UsesBucket(environment))
    try:
        yield
    finally:
        client.unregister_worker_plugin("bucket")


def next_number(folder: Path) -> int:
    """The next of the numbers 1, 2, 3, …, each of which is given to one process alone."""
    number = 1 + sum(1 for _ in folder.iterdir())
    while True:
        try:
            (folder / str(number)).touch(exist_ok=False)
            return number
        except FileExistsError:
            number += 1


@dataclass(frozen=True, eq=False)
class Brittle(NoiseSet):
    """Gaussian noises, some of which only one process can draw."""

    shape: tuple[int, int, int]
    count: int
    broken: int
    home: int

    def __len__(self) -> int:
        return self.count

    def _name(self, index: int) -> str:
        return f"noise_{index:04d}"

    def _tensor(self, index: int) -> torch.Tensor:
        if index == self.broken and os.getpid() != self.home:
            raise ValueError(f"noise {index} is out of reach")
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(index))

    @property
    def parameters(self) -> dict[str, Any]:
        return {"kind": "brittle"}


def rename_device() -> None:
    """Let this process say that it computes on another device."""
    _RENAMED.setattr(provenance, "device_name", lambda _: "cpu of another kind")


def name_device_again() -> None:
    """Let this process name its own device again."""
    _RENAMED.undo()
