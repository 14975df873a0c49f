"""Opening of regular files only, since reading a pipe or a device may block or never end."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

IRREGULAR = "it is a pipe, a socket or a device, not a regular file"


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, opened for reading at its start.

    Raises: OSError if it cannot be opened, or is a pipe, a socket or a device; IsADirectoryError if it is a folder.
    """
    try:
        return open(path, "rb", opener=regular_only)
    except ValueError as error:  # a name with a null byte
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error


def regular_only(path: str, flags: int) -> int:
    """An opener for `open` that accepts regular files alone.

    Opening a pipe without a writer would block. It is therefore opened without blocking, and then refused.
    """
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, IRREGULAR, path)
    except OSError:
        os.close(file)
        raise
    return file


def why_no_file(path: str | os.PathLike[str]) -> str | None:
    """Why a path names no regular file; None if it does."""
    if os.path.isfile(path):  # unlike Path.is_file, it raises no error if a name is too long
        return None
    if os.path.isdir(path):
        return "it is a folder"
    return IRREGULAR if os.path.exists(path) else "there is no such file"


def check_regular(path: Path) -> None:
    """Refuse a pipe, a socket or a device at a path; missing files and folders are left to the reader.

    Raises: OSError if there is one.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, IRREGULAR, os.fspath(path))


def read_bytes(path: Path, *, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises: OSError as `open_regular` does, and if the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes; allowed: at most {limit:,}", os.fspath(path))
        return file.read(size)  # it allocates as many bytes as are asked for, however few there are
