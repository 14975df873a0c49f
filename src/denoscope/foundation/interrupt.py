"""Ctrl-C at a moment that loses nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Request:
    """Whether somebody asked to stop."""

    made: bool = False


@contextmanager
def deferred() -> Iterator[Request]:
    """Note the first SIGINT instead of raising it; a second one raises at once.

    Outside of the main thread, where Python allows no handlers, nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(_signum: int, _frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt("stopped at once; what was finished is safe: go on with --resume")
        request.made = True
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after the samples in flight; Ctrl-C again stops at once\n")

    former = signal.signal(signal.SIGINT, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, former)
