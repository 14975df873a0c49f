"""The room on the disk where an output will be."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

NO_FILES = "no folder can be made there, because the file system stores no files"
"""Why nothing can be written where `DiskRoom.takes_files` is False."""


@dataclass(frozen=True)
class DiskRoom:
    """The bytes of a file system: all of them, and those that are free."""

    total: int
    free: int

    @classmethod
    def at(cls, path: Path) -> DiskRoom:
        """The room for a path, which need not exist."""
        usage = shutil.disk_usage(existing(path))
        return cls(usage.total, usage.free)

    @property
    def takes_files(self) -> bool:
        """Whether the file system stores files at all; that of /proc, which has no room, does not."""
        return self.total > 0


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    # os.path: a name that is too long for the file system is reported when it is written.
    return next(place for place in (path.absolute(), *path.absolute().parents) if os.path.exists(place))
