"""Recipes of runs whose units do what a test tells them, in worker processes that import this module."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    for ever the first time. The first time is noted in `folder`.
    """

    folder: Path
    differs: Mapping[str, str] = field(default_factory=dict)
    """What makes the descriptions of workers differ: "pid" for their number, for example."""

    def prepare(self) -> "Told":
        return self

    @property
    def description(self) -> dict[str, Any]:
        return {"kind": "told", **({"device": os.getpid()} if self.differs else {})}

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
        return 2 * number


@dataclass(frozen=True)
class Unloadable:
    """A run that no worker can prepare."""

    def prepare(self) -> None:
        raise ValueError("there is no model here")
