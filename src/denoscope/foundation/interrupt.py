"""Ctrl-C that waits for a point where no work is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from denoscope.foundation.spelling import spelled


@dataclass
class StopRequest:
    """Whether the user has pressed Ctrl-C."""

    requested: bool = False


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Record the first SIGINT instead of raising KeyboardInterrupt; a second SIGINT raises at once.

    The second goes to the handler that was there before, which may wait for the end of an import. Outside the main
    thread, where Python allows no signal handlers, nothing changes.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.requested:
            try:
                (previous if callable(previous) else signal.default_int_handler)(signum, frame)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"stopped at once; finished samples are stored: continue with {spelled('resume', True)}"
                ) from None
            return
        stop.requested = True
        # Not print: the signal may arrive while a print is running.
        os.write(2, b"\nstopping after the current samples; press Ctrl-C again to stop at once\n")

    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
