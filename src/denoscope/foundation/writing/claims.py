"""Claims: an output is written by one process at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import NAME_BYTES
from denoscope.foundation.writing.locks import locked

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk."""
_HELD: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())
"""The outputs that this thread has claimed."""
_UNCLAIMED: ContextVar[Path | None] = ContextVar("unclaimed", default=None)
"""A folder that only this thread writes to, so that its files need no claims."""
_LASTING: ContextVar[ExitStack | None] = ContextVar("lasting", default=None)
"""The claims that last until the end of the block of `lasting`."""


def hidden_beside(path: Path, kind: str) -> Path:
    """The hidden file or folder of a kind, such as "lock", that belongs to an output and lies beside it.

    >>> hidden_beside(Path("results/map.npz"), "partial")
    PosixPath('results/.map.npz.partial')
    """
    name = f".{path.name}.{kind}"
    if len(os.fsencode(name)) > NAME_BYTES:
        import hashlib  # takes longer to import than all other modules that every command needs

        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.{kind}"
    return path.with_name(name)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold an output file while the block runs: nobody else may write it.

    FOLDER/*.npz stands for all files of that suffix in the folder, which this thread then writes without further claims.
    The claim is a lock on a hidden file beside the output. A killed process leaves that file behind, but not the lock.
    A partial output that it left is removed.

    Raises: UserError if it is claimed already, or cannot be written.
    """
    with ExitStack() as stack:
        with writing(path):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            held = stack.enter_context(locked(hidden_beside(path, "lock"), keep_file=False))
        if not held:
            raise UserError(f"{path} is being written by another process; wait for it or name another path")
        with writing(path):
            hidden_beside(path, "partial").unlink(missing_ok=True)
        paths = {path, hidden_beside(path, "replacement")}
        stack.enter_context(_set_while(_HELD, _HELD.get() | set(map(canonical, paths))))
        yield


def is_held(path: Path) -> bool:
    """Whether this thread has claimed an output, or all files of its suffix in its folder."""
    own = canonical(path)
    return not _HELD.get().isdisjoint((own, own.with_name(f"*{own.suffix}")))


def claimed_once(path: Path) -> AbstractContextManager[None]:
    """Hold an output file while the block runs, as `claimed` does, unless this thread holds it already."""
    return nullcontext() if is_held(path) else claimed(path)


def unclaimed_below(folder: Path) -> AbstractContextManager[None]:
    """Let this thread write into a hidden folder of a claimed output without claims.

    The caller must sync the files when it moves them.
    """
    return _set_while(_UNCLAIMED, folder)


def needs_no_claim(path: Path) -> bool:
    """Whether a path lies in the folder of `unclaimed_below`."""
    folder = _UNCLAIMED.get()
    return folder is not None and path.is_relative_to(folder)


@contextmanager
def lasting() -> Iterator[None]:
    """Release what `claim` claims when the block ends."""
    with ExitStack() as stack, _set_while(_LASTING, stack):
        yield


def claim(path: Path) -> None:
    """Claim an output, unless this thread holds it, until the block of `lasting` ends.

    Raises: UserError as `claimed` does.
    """
    stack = _LASTING.get()
    assert stack is not None
    stack.enter_context(claimed_once(path))


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an error of the file system into one line that names the output."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        free = "free space there or " if error.errno in FULL else ""
        raise UserError(f"cannot write {path}: {reason}; {free}name another path") from error


@contextmanager
def _set_while(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give a variable of this thread a value while the block runs."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths, which need not exist, name one file: they are spelled differently, or are links."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def canonical(path: Path) -> Path:
    """The path with the links in its folder resolved, so that all spellings of an output compare equal."""
    return Path(os.path.realpath(path.parent)) / path.name
