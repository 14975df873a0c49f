"""The n-th operation on files fails: open, read, write, flush, rename, exchange, remove, make and list, in this process."""

from __future__ import annotations

import builtins
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from denoscope.storage import replacement

CALLS = ("open", "fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir", "scandir", "listdir")
"""Functions of `os`, of which every call counts."""


class Operations:
    """Counts operations, of which the one with the number `fails_at`, from 1, raises EIO."""

    def __init__(self, fails_at: int):
        self.fails_at, self.kinds = fails_at, Counter()
        self.failed = ""

    def happen(self, kind: str) -> None:
        self.kinds[kind] += 1
        if self.kinds.total() == self.fails_at:
            self.failed = kind
            raise OSError(5, "Input/output error")


@contextmanager
def failing(folder: Path, fails_at: int) -> Iterator[Operations]:
    """Let one operation fail while the block runs. Of what `open` returns, only files in the folder count."""
    operations, plain = Operations(fails_at), builtins.open

    class Raw(io.FileIO):
        def write(self, data):
            operations.happen("write")
            return super().write(data)

        def readinto(self, buffer):
            operations.happen("read")
            return super().readinto(buffer)

        def readall(self):
            operations.happen("read")
            return super().readall()

    def opened(file, mode="r", buffering=-1, *arguments, **options):
        if isinstance(file, int) or str(folder) not in str(file):
            return plain(file, mode, buffering, *arguments, **options)
        operations.happen("open")
        raw = Raw(file, mode.translate({ord("b"): None, ord("t"): None}), opener=options.pop("opener", None))
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *arguments, **options)

    def counted(kind, function):
        def call(*arguments, **options):
            operations.happen(kind)
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(builtins, "open", opened)
        patched.setattr(io, "open", opened)
        for kind in CALLS:
            patched.setattr(os, kind, counted(f"os.{kind}", getattr(os, kind)))
        # The system call is reached through ctypes, whose failure becomes an OSError there.
        patched.setattr(replacement, "_exchange", counted("renameat2", replacement._exchange))
        yield operations
