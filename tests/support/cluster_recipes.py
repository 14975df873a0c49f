"""Recipes of runs whose units do what a test tells them, in worker processes that import this module."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distributed import Status, get_worker


def is_first(folder: Path, name: str) -> bool:
    """Whether nobody has asked for this name before."""
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class Told:
    """Units are pairs (what to do, a number); each that finishes returns twice its number.

    "double" only does that; "raise" fails; "die" kills its worker always, "die once" the first time; "hang once" waits
    for ever the first time; "leave once" makes its worker leave on purpose the first time, "terminate once" by SIGTERM;
    "wait" waits for a file "go" in `folder`. The first time is noted in `folder`, and so is each number in the file `done`.
    """

    folder: Path

    def prepare(self) -> "Told":
        return self

    @property
    def description(self) -> dict[str, Any]:
        return {"kind": "told"}

    def do(self, content: tuple[str, int], beat: Callable[[int], None]) -> int:
        what, number = content
        beat(0)
        if what == "raise":
            raise ValueError(f"{number} is refused")
        if what == "die" or (what == "die once" and is_first(self.folder, f"{number}.died")):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang once" and is_first(self.folder, f"{number}.hung"):
            while True:
                time.sleep(60)
        if what == "leave once" and is_first(self.folder, f"{number}.left"):
            leave()
        if what == "terminate once" and is_first(self.folder, f"{number}.terminated"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(3600)
        while what == "wait" and not (self.folder / "go").exists():
            time.sleep(0.01)
        with (self.folder / "done").open("a") as done:
            done.write(f"{number}\n")
        return 2 * number


def leave() -> None:
    """Leave as a worker does at the end of its walltime (`--lifetime`), and return when it has left."""
    worker = get_worker()
    worker.loop.add_callback(worker.close_gracefully, restart=True)
    while worker.status in (Status.running, Status.closing_gracefully):
        time.sleep(0.01)
    raise RuntimeError("the worker has left")


class Deadly:
    """An object that kills the worker which unpickles it; the scheduler unpickles it too."""

    def __reduce__(self) -> "tuple[Callable[[], Deadly], tuple[()]]":
        return arrive, ()


def arrive() -> Deadly:
    """Kill this process if it is a worker."""
    if os.environ.get("DENOSCOPE_LOCAL_WORKER"):
        os.kill(os.getpid(), signal.SIGKILL)
    return Deadly()


@dataclass(frozen=True)
class Varying(Told):
    """A run that each worker describes differently."""

    late: ClassVar[str] = (
        "came late and differs from the others (run denoscope cluster check to see how); it gets no units"
    )

    @property
    def description(self) -> dict[str, Any]:
        return {"device": os.getpid()}


@dataclass(frozen=True)
class Early(Told):
    """A run that workers can prepare until there is a file "late" in its folder."""

    late: ClassVar[str] = "came late and cannot prepare the run: there is no memory left; it gets no units"

    def prepare(self) -> "Early":
        if (self.folder / "late").exists():
            raise MemoryError("there is no memory left")
        return self


@dataclass(frozen=True)
class Unloadable:
    """A run that no worker can prepare."""

    def prepare(self) -> None:
        raise ValueError("there is no model here")
