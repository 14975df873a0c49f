"""The n-th operation on files fails: open, read, write, flush, rename, remove, make and list, in this process."""

from __future__ import annotations

import builtins
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CALLS = ("fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir", "scandir")


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
    """Let one operation fail while the block runs; only files in the folder count."""
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
        if isinstance(file, int) or str(folder) not in str(file) or "b" not in mode:
            return plain(file, mode, buffering, *arguments, **options)
        operations.happen("open")
        raw = Raw(file, mode.replace("b", ""), opener=options.get("opener"))
        if buffering == 0:
            return raw
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)

    def counted(kind, function):
        def call(*arguments, **options):
            operations.happen(kind)
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(builtins, "open", opened)
        patched.setattr(io, "open", opened)
        for kind in CALLS:
            patched.setattr(os, kind, counted(kind, getattr(os, kind)))
        yield operations
