"""Opening files that others may have made: neither a pipe nor a device can block or never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file opened for reading, unbuffered positions at its start.

    Raises: OSError if it cannot be opened, or is a pipe, a socket or a device; IsADirectoryError if it is a folder.
    """
    return open(path, "rb", opener=regular_only)


def regular_only(path: str, flags: int) -> int:
    """An opener for `open` that accepts regular files alone.

    A pipe without a writer would block the opening itself, so that it is opened without blocking and then refused.
    """
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file", path)
    except OSError:
        os.close(file)
        raise
    return file


def read_bytes(path: Path, *, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises: OSError as `open_regular` does, and if the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes; allowed: at most {limit:,}", os.fspath(path))
        return file.read(limit)
