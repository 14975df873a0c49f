"""A scheduler of Dask and its workers as programs, as a user starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

SECONDS = 300
"""How long the scheduler may take to start, however busy the machine is."""


class DaskProcesses:
    """A scheduler, whose `address` is known when it listens, and workers.

    Args:
        folder: for what they print, and the file of the scheduler.
    """

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        protocol: str = "tcp",
        environment: Mapping[str, str] | None = None,
    ):
        self._stack, self._folder = stack, folder
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            *("scheduler", "--protocol", protocol, "--host", f"{protocol}://127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)),
        )
        limit = time.monotonic() + SECONDS
        while not (file.exists() and file.read_text().endswith("}")):
            assert time.monotonic() < limit, self.printed()
            assert self.scheduler.poll() is None, self.printed()
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]

    def add_workers(self, count: int) -> None:
        self._start(
            *("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--nworkers", str(count)),
            *("--dashboard-address", "127.0.0.1:0", "--death-timeout", "5"),
        )

    def add_lone_worker(self) -> None:
        """A worker without the process that watches over it, which may be killed when its scheduler is gone."""
        words = ("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")
        self._stack.callback(self._start(*words, "--dashboard-address", "127.0.0.1:0").kill)

    def printed(self) -> str:
        """What the processes have printed."""
        return "".join(file.read_text() for file in self._folder.glob("*.log"))

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{words[0]}.log").open("w"))
        command = [sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:]]
        process = self._stack.enter_context(
            subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        )
        self._stack.callback(process.terminate)
        return process


@contextmanager
def dask_processes(
    folder: Path, protocol: str = "tcp", environment: Mapping[str, str] | None = None
) -> Iterator[DaskProcesses]:
    """A scheduler without workers, while the block runs."""
    with ExitStack() as stack:
        yield DaskProcesses(stack, folder, protocol, environment)
