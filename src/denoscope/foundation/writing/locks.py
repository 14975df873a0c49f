"""File locks, which end with the process that holds them, even if it is killed."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ATTEMPTS = 100
"""How often to try a lock if other processes keep removing its file or folder."""
RETRIES, RETRY_SECONDS = 2, 0.01
"""`is_locked` holds a lock briefly, so a writer tries again."""


@contextmanager
def locked(path: Path, *, keep_file: bool) -> Iterator[bool]:
    """Hold a lock on a file while the block runs; the block gets False if it is held elsewhere.

    The file and missing folders are created. Unless `keep_file` is set, they are removed at the end; folders stay if
    they hold anything else, and a file that cannot be removed stays for the next holder, since it locks nothing.

    Raises: OSError if the file cannot be created or locked.
    """
    created: list[Path] = []
    file = _acquired(path, created)
    try:
        yield file is not None
    finally:
        if file is not None:
            try:
                if not keep_file:
                    # While the lock is held, so that it is not the file of another process.
                    with suppress(OSError):
                        path.unlink()
            finally:
                os.close(file)
        if not keep_file:
            _remove_empty(created)


def is_locked(path: Path) -> bool:
    """Whether a lock is held; False if its file does not exist or cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _acquired(path: Path, created: list[Path]) -> int | None:
    """The open file with the lock, or None if it is held elsewhere; appends new folders to `created`."""
    error: OSError = FileNotFoundError(path)
    for _ in range(ATTEMPTS):
        try:
            created += _make_folders(path.parent)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        except FileNotFoundError as missing:  # another process has removed the folder again
            error = missing
            continue
        try:
            _lock(file)
            # Another process may have removed or replaced the file before it was locked.
            if os.path.exists(path) and os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    raise error


def _lock(file: int) -> None:
    """Lock an open file.

    Raises: BlockingIOError if it is locked elsewhere.
    """
    for _ in range(RETRIES):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(RETRY_SECONDS)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones from the lowest up."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # it holds something
            return
