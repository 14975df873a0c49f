"""Room on the disk: what there is, what a recording takes, and the refusal of one that cannot fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError


def free_bytes(path: Path) -> int:
    """Free space of the file system that `path` lies or will lie on."""
    return shutil.disk_usage(_existing(path)).free


def on_disk(path: Path, sizes: Iterable[int]) -> int:
    """What files of these sizes take where `path` lies or will lie: whole blocks of its file system.

    A folder counts as a file of one byte, though some file systems need less for it.
    """
    block = os.statvfs(_existing(path)).f_frsize or 1
    return sum(-(-size // block) * block for size in sizes)


def check(path: Path, needed: int, freed: int = 0) -> None:
    """Refuse to write `needed` bytes where no room is for them, `freed` bytes being removed before."""
    free = free_bytes(path) + freed
    if needed > free:
        raise UserError(
            f"{path}: {format_bytes(needed)} are to be written and {format_bytes(free)} are free; record fewer samples, "
            "steps or layers, reduce states (--reduce, --state_dtype), or name another output"
        )


def _existing(path: Path) -> Path:
    # os.path: a name that is too long for the file system is no error here, but when it is written.
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if os.path.exists(parent))
