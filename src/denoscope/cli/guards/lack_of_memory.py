"""A lack of memory ends a command in one line, wherever it shows."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

PHRASES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "can't start new thread",
    "could not create a primitive",  # oneDNN, where it cannot allocate one
    "could not execute a primitive",
)
"""Phrases in the message of a RuntimeError that show a lack of memory."""


@contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 2 and one line if the block lacks memory, in an import too."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_lack_of_memory(error):
            raise
        # What could not be started is said below; Python would add that zarr's coroutine for it was never awaited.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        print(
            "error: the memory is too small; finished work is stored: free memory, or compute fewer samples at once",
            file=sys.stderr,
        )
        raise SystemExit(2) from None


def _is_lack_of_memory(error: MemoryError | RuntimeError | OSError) -> bool:
    """Whether Python, PyTorch or the system could not allocate memory or start a thread."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in PHRASES)
