"""CPU time and memory of the descendants of this process, as Linux counts them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process that runs."""

    number: int
    parent: int
    command: str
    seconds: float
    """CPU time."""
    resident: int
    """Bytes in memory."""


def descendants() -> list[Process]:
    """The processes that this one has started, and those that they have started."""
    everyone = [process for path in Path("/proc").glob("[0-9]*") if (process := _process(path)) is not None]
    below: list[Process] = []
    parents = {os.getpid()}
    while children := [process for process in everyone if process.parent in parents]:
        below += children
        parents = {process.number for process in children}
    return below


def seconds(fits: Callable[[Process], bool]) -> float:
    """CPU time of the descendants that fit."""
    return sum(process.seconds for process in descendants() if fits(process))


def _process(path: Path) -> Process | None:
    try:
        command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return None
    parent, (user, system), pages = int(fields[1]), map(int, fields[11:13]), int(fields[21])
    return Process(
        int(path.name), parent, command, (user + system) / TICKS, pages * os.sysconf("SC_PAGE_SIZE")
    )
