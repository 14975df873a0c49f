"""Standard streams whose errors do not end a command: output that cannot be written is lost, results are not."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDOUT, STDERR = 1, 2
LOST = 1
"""The exit code of a command whose output was lost."""


class _Descriptor(io.FileIO):
    """A file descriptor that drops what cannot be written and keeps the first error."""

    def __init__(self, number: int):
        super().__init__(number, "wb", closefd=False)
        self.error: OSError | None = None

    def write(self, data: object) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes  # type: ignore[arg-type]


@contextmanager
def guarded() -> Iterator[None]:
    """Let the block print to streams that may be closed or full, or lack characters.

    A character that the encoding lacks is replaced. If stdout could not be written, one line on stderr reports it
    when the block has ended, and the exit code is 1; if the reader of a pipe has gone, there is no report, and the
    exit code is that of SIGPIPE. Errors of stderr are ignored. Streams that another program has put in place are left
    alone.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    _fill_closed_descriptors()
    originals = sys.stdout, sys.stderr
    for stream in originals:
        _flush(stream)
    out, err = _Descriptor(STDOUT), _Descriptor(STDERR)
    sys.stdout, sys.stderr = (
        _stream(originals[0], out, "replace"),
        _stream(originals[1], err, "backslashreplace"),
    )
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if out.error is not None:
            _report(out.error)
        sys.stdout, sys.stderr = originals


def _report(error: OSError) -> None:
    """Report that output was lost, and exit."""
    if error.errno == errno.EPIPE:
        raise SystemExit(128 + signal.SIGPIPE)
    print(
        f"error: standard output cannot be written: {error.strerror}; what was printed is lost",
        file=sys.stderr,
    )
    raise SystemExit(LOST)


def _stream(original: io.TextIOWrapper | None, descriptor: _Descriptor, errors: str) -> io.TextIOWrapper:
    """A text stream to a descriptor, with the encoding of the stream that it replaces; UTF-8 if that was closed."""
    encoding = original.encoding if original else "utf-8"
    lines = descriptor.fileno() == STDERR or descriptor.isatty()
    return io.TextIOWrapper(io.BufferedWriter(descriptor), encoding, errors, line_buffering=lines)


def _fill_closed_descriptors() -> None:
    """Open those of the three standard descriptors that are closed: the next opened file would get their number.

    They are opened read-only, so that writing to them still fails.
    """
    for number in (0, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _flush(stream: io.TextIOWrapper | None) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.flush()
