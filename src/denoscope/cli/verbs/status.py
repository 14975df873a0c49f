"""`denoscope status`."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option

if TYPE_CHECKING:
    from denoscope.storage.watching.status import Status

WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class StatusFlags(OwnFlags):
    """Which recording, and how long it is watched."""

    path: Path = option(Path("run.zarr"), "The recording.", positional=True, takes_url=True)
    watch: bool = option(False, "Keep it on the screen until nobody writes the recording any more.")


def run(_settings: Settings, flags: StatusFlags) -> None:
    from denoscope.storage.places import parse_place
    from denoscope.storage.watching.status import JustBegunError, status

    place = parse_place(flags.path)
    screen = _Screen() if sys.stdout.isatty() else _Lines()
    while True:
        try:
            now = status(place)
        except JustBegunError:
            if not flags.watch:
                raise
        else:
            screen.show(now)
            if not flags.watch or not now.goes_on:
                return
        time.sleep(WATCH_SECONDS)


class _Screen:
    """Shows a status on a terminal, in the place of the one before."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, now: Status) -> None:
        width = shutil.get_terminal_size().columns - 1
        back = f"\033[{self._shown}A\033[J" if self._shown else ""
        self._shown = len(now.lines)
        print(back + "\n".join(line[:width] for line in now.lines), flush=True)


class _Lines:
    """Prints a status where there is no terminal, one line for each change after the first."""

    def __init__(self) -> None:
        self._shown: object = None

    def show(self, now: Status) -> None:
        seen = now.done, now.is_written, now.notes, now.starting
        if self._shown is None:
            print("\n".join(now.lines), flush=True)
        elif seen != self._shown:
            print("; ".join(map(str.strip, now.lines)), flush=True)
        self._shown = seen


VERB = Verb(run, "Show how much of a recording is done, how fast, and by whom.", {}, StatusFlags)
