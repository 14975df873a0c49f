"""The messages that a command shows on stderr while it works, from the logger `denoscope`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from denoscope.foundation.checked import Checked, option
from denoscope.foundation.errors import UserError, escaped

LOGGER = logging.getLogger("denoscope")


@dataclass(frozen=True)
class Verbosity(Checked):
    """Flags of every command: which messages are shown."""

    verbose: bool = option(
        False, "Also show details, such as what was loaded and each finished batch.", alias="-v"
    )
    quiet: bool = option(False, "Show no progress: on standard error, only warnings and errors.", alias="-q")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.verbose and self.quiet:
            raise UserError("--verbose and --quiet are both given; leave one out")

    @property
    def level(self) -> int:
        """The lowest level of the messages that are shown."""
        return logging.DEBUG if self.verbose else logging.WARNING if self.quiet else logging.INFO


FLAGS = [text for item in fields(Verbosity) for text in (item.metadata["alias"], f"--{item.name}")]
"""All spellings of these flags."""


@contextmanager
def shown(verbosity: Verbosity) -> Iterator[None]:
    """Show the messages of the logger `denoscope` on stderr while the block runs."""
    handler, level = _Handler(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(verbosity.level)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


class _Handler(logging.Handler):
    """Writes messages above a progress bar, one line or more each."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        tqdm.write(f"{prefix}{escaped(self.format(record))}", file=sys.stderr)
