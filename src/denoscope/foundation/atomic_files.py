"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from denoscope.foundation.errors import UserError


@contextlib.contextmanager
def atomic_write(path: Path, *, staging: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which replaces `path` when the block ends; missing folders are created.

    A reader sees either the previous file or the new one, never a part. If the block raises, the previous file remains
    unchanged and the temporary file is removed.

    Args:
        staging: the folder of the temporary file, on the same file system; by default that of `path`.
    """
    # A short name cannot exceed the limit of the file system, and a hidden one matches no search for *.pt or *.png.
    partial = (staging or path.parent) / f".{uuid.uuid4().hex}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def write_output(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that a user named, as `atomic_write` does.

    Raises: UserError naming `path` if it cannot be written (no permission, full disk, …).
    """
    with _as_user_error(path), atomic_write(Path(path)) as file:
        yield file


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before there is anything to write; nothing is created.

    Raises: UserError as `write_output` does.
    """
    with _as_user_error(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        existing = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass


@contextlib.contextmanager
def _as_user_error(path: str | Path) -> Iterator[None]:
    """Turn an error of the file system into one line that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}; free space there or name another path") from error
