"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from denoscope.foundation.writing import claims


@contextmanager
def atomic_write(path: Path, partial: Path) -> Iterator[BinaryIO]:
    """Open `partial` for writing, which replaces `path` when the block ends; missing folders are created.

    A reader sees either the previous file or the new one, never a part. If the block raises, the previous file remains
    unchanged and the temporary file is removed. The file survives a power failure once `sync` has been called for it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def write_output(path: str | Path) -> Iterator[BinaryIO]:
    """Open an output file that a user named: it is claimed, written beside its place, made durable and renamed.

    Raises: UserError naming `path` if another process writes it, or it cannot be written (no permission, full disk, …).
    """
    path = Path(path)
    if claims.needs_no_claim(path):
        with claims.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                yield file
        return
    partial = claims.hidden_beside(path, "partial")
    with (
        claims.claimed_once(path),
        claims.writing(path),
        atomic_write(path, partial) as file,
    ):
        yield file
        file.flush()
        os.fsync(file.fileno())
    with claims.writing(path):
        sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a durable file durably.

    Raises: UserError naming the target if that fails.
    """
    with claims.writing(target):
        os.replace(source, target)
        sync(target.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders
            raise
    finally:
        os.close(file)
