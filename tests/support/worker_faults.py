"""Faults that tests plan in worker processes, which import this module."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import Client, Worker, WorkerPlugin
from torch.nn.modules.module import register_module_forward_pre_hook

from denoscope.noise.noise_set import NoiseSet
from denoscope.recording import provenance

_RENAMED = pytest.MonkeyPatch()


class Kills(WorkerPlugin):
    """Kills the worker that makes the n-th network call of all workers, for each n that is planned.

    Each call of a network in a worker takes the next number: the files of a folder count them.
    """

    name = "kills"

    def __init__(self, folder: Path, at: set[int]):
        self.folder, self.at = folder, at

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle = register_module_forward_pre_hook(self.call)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        self.handle.remove()

    def call(self, module: object, _arguments: object) -> None:
        if type(module).__name__ == "UNet2DModel" and next_number(self.folder) in self.at:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def killing(client: Client, folder: Path, at: Iterable[int] = ()) -> Iterator[Callable[[], int]]:
    """Kill the workers that make certain calls of the network while the block runs; yields a count of the calls so far."""
    folder.mkdir()
    client.register_plugin(Kills(folder, set(at)))
    try:
        yield lambda: sum(1 for _ in folder.iterdir())
    finally:
        client.unregister_worker_plugin("kills")


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
