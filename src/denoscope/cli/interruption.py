"""Ctrl-C at any moment ends a command in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reported() -> Iterator[None]:
    """End the process with exit code 130 and one line if Ctrl-C interrupts the block."""
    try:
        yield
    except KeyboardInterrupt as stop:
        print(end="", flush=True)  # earlier output comes first
        print(f"\n{str(stop) or 'stopped'}", file=sys.stderr)
        raise SystemExit(130) from None
