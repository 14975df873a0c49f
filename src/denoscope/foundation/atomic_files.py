"""Files that appear whole or not at all."""

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
def whole(path: Path, *, through: Path | None = None) -> Iterator[BinaryIO]:
    """A file open for writing that takes the place of `path` at the end, folders made when needed.

    It lies under a temporary name until then, in the folder `through` (that of `path` unless given): a
    reader sees the former file or the new one, never half of one. After an error the former file stands
    and the temporary one is gone.
    """
    # A short name of its own kind: it can't be too long, and no search for *.pt or *.png finds it.
    partial = (through or path.parent) / f".{uuid.uuid4().hex}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """`whole`, for what a user asked to be written.

    Raises: UserError naming `path` where it can't be written (no permission, disk full, …).
    """
    with _telling(path), whole(Path(path)) as file:
        yield file


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before there is anything to write: nothing is made.

    Raises: UserError as `replacing` does.
    """
    with _telling(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass


@contextlib.contextmanager
def _telling(path: str | Path) -> Iterator[None]:
    """Tell in one line why the file that was asked for can't be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}; make room there or name another place") from error
