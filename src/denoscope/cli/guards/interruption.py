"""Ctrl-C at any moment ends a command in one line."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

EXIT_CODE = 130
STOPPED = "stopped"
IMPORTING = "<frozen importlib._bootstrap>"
"""The file of the frames in which Python imports a module."""


@contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 130 and one line if Ctrl-C interrupts the block.

    Ctrl-C during an import takes effect when the import has ended: in its middle an exception may be lost, printed by
    the libraries on its way, or end the process where C++ has called Python. A second Ctrl-C ends the process at once.

    Where the caller handles or ignores Ctrl-C, this remains so.
    """
    # The frame of the block, below this one and the one that makes a context of it.
    handler = _Handler(sys._getframe(2))
    with _handling(handler):
        try:
            yield
        except KeyboardInterrupt as stop:
            handler.has_stopped = True
            print(end="", flush=True)  # earlier output comes first
            print(f"\n{str(stop) or STOPPED}", file=sys.stderr)
            atexit.register(signal.signal, signal.SIGINT, _end)
            raise SystemExit(EXIT_CODE) from None


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    """Handle SIGINT by this handler while the block runs, if Python's own would otherwise."""
    is_main = threading.current_thread() is threading.main_thread()  # in others, Python allows no handlers
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Handler:
    """A handler of SIGINT that raises KeyboardInterrupt, but only when the imports that are under way have ended.

    Args:
        base: the frame of the command; imports that are under way below it are not made by the command.
    """

    def __init__(self, base: FrameType):
        self.has_stopped = False
        """Whether KeyboardInterrupt has ended the command."""
        self._base, self._waits = base, False

    def __call__(self, _signum: int, frame: FrameType | None) -> None:
        if self._waits and not self.has_stopped:
            # Not print: the signal may arrive while a print is running.
            with suppress(OSError):
                os.write(2, f"\n{STOPPED}\n".encode())
        if self._waits or self.has_stopped:
            _end()
        if (importing := self._outermost_import(frame)) is None:
            raise KeyboardInterrupt
        self._waits = True
        _raise_at_end(importing)

    def _outermost_import(self, frame: FrameType | None) -> FrameType | None:
        found = None
        while frame is not None and frame is not self._base:
            if frame.f_code.co_filename == IMPORTING:
                found = frame
            frame = frame.f_back
        return found


def _raise_at_end(frame: FrameType) -> None:
    """Raise KeyboardInterrupt when a frame of this thread returns."""

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event != "return":
            return trace
        sys.settrace(None)
        raise KeyboardInterrupt

    frame.f_trace, frame.f_trace_lines = trace, False
    sys.settrace(lambda *_: None)  # which traces no other frame


def _end(*_: object) -> NoReturn:
    """End the process at once."""
    os._exit(EXIT_CODE)
