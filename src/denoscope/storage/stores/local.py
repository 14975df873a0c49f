"""A store in a folder of the local disk."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from denoscope.foundation.reading.regular_files import open_regular
from denoscope.foundation.writing.atomic_files import atomic_write, sync
from denoscope.foundation.writing.claims import hidden_beside
from denoscope.foundation.writing.disk_room import DiskRoom, existing
from denoscope.foundation.writing.locks import is_locked, locked
from denoscope.storage.stores.byte_store import ByteStore, Data, is_key

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What the operating system raises where a key has no file."""
PARTIAL = re.compile(r"\.([0-9a-f]{32}|\d+|.+\.pt)\.partial")
"""The temporary names of files that are still being written."""
REPLACEMENT, COMMITTED = "replacement", ".committed"
"""The kind of the hidden folder of a recording that replaces the one in a folder, and the file that says that it is
complete. Neither belongs to the keys of a store."""
FLUSHES = 16
"""How many files are flushed at once: the file system then commits them together, ten times faster than in turn."""


class LocalStore:
    """A folder with one file for each key.

    Files are written under a temporary name and renamed. Those of `put` are written in the folder `scratch` (a key), or
    beside the final file if none is given. If a complete replacement is waiting to be moved, its files are read instead
    of those that they replace.
    """

    def __init__(self, root: str | os.PathLike[str], *, scratch: str = ""):
        self.root = Path(root)
        self.scratch = scratch
        self._unflushed: set[Path] = set()
        places = replacements_in(self.root)
        self._ready = next((place for place in places if os.path.exists(place / COMMITTED)), None)

    def __getstate__(self) -> dict[str, Any]:
        """The store with absolute paths: another process may have another working directory."""
        ready = self._ready and self._ready.absolute()
        return {**self.__dict__, "root": self.root.absolute(), "_ready": ready}

    def path(self, key: str) -> Path:
        """Return the path of the file that holds a key."""
        if not is_key(key):
            raise ValueError(f"{key!r} is not a key: parts that are empty, '.' or '..' are not allowed")
        if self._ready is not None and (replacing := self._ready / key).exists():
            return replacing
        return self.root / key

    @property
    def is_in_place(self) -> bool:
        """Whether all files are at the paths of their keys."""
        return self._ready is None

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes | None:
        try:
            with open_regular(self.path(key)) as file:
                if start is None and length is None:
                    return file.read()
                size = os.fstat(file.fileno()).st_size
                first = slice(start, None).indices(size)[0]
                file.seek(first)
                # read() allocates as many bytes as are asked for, however few there are.
                return file.read(size - first if length is None else min(length, size - first))
        except ABSENT:
            return None

    def put(self, key: str, data: Data) -> None:
        path = self.path(key)
        folder = self._scratch_of(path)
        if folder != path.parent:
            folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, _partial(folder)) as file:
            file.write(data)
        self._unflushed.add(path)

    def put_if_absent(self, key: str, data: Data) -> bool:
        path = self.path(key)
        for folder in (path.parent, self._scratch_of(path)):
            folder.mkdir(parents=True, exist_ok=True)
        partial = _partial(self._scratch_of(path))
        try:
            partial.write_bytes(data)
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        self._unflushed.add(path)
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        ready = set() if self._ready is None else set(_keys(self._ready, prefix))
        yield from ready
        yield from (key for key in _keys(self.root, prefix) if key not in ready)

    def delete(self, key: str) -> None:
        """Remove a file, unless a link leads out of the folder to it."""
        path = self.path(key)
        with suppress(*ABSENT):
            if path.parent.resolve().is_relative_to(self.root.resolve()):
                path.unlink()

    def sink(self, key: str) -> FileSink:
        return FileSink(self.path(key), self._unflushed)

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Lock a file, which stays; the lock ends with the process, even if that is killed."""
        with locked(self.root / key, keep_file=True) as held:
            yield held

    def is_locked(self, key: str) -> bool:
        """Return whether a process holds a lock."""
        return is_locked(self.root / key)

    def times(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield the keys that start with a prefix, with the time when each was written, in seconds since 1970."""
        for key in self.list(prefix):
            with suppress(*ABSENT):
                yield key, self.path(key).stat().st_mtime

    def adopt(self, key: str, file: Path) -> None:
        """Move a file of the same file system to a key."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, path)
        self._unflushed.add(path)

    def flush(self) -> None:
        """Wait until the disk has all files that this object wrote, and their names."""
        files = [path for path in self._unflushed if path.exists()]
        with ThreadPoolExecutor(FLUSHES) as pool:
            list(pool.map(sync, files))
            list(pool.map(sync, {path.parent for path in files}))
        self._unflushed.clear()

    @property
    def room(self) -> DiskRoom:
        """The room on the disk of the folder."""
        return DiskRoom.at(self.root)

    def free_bytes(self) -> int:
        return self.room.free

    def footprint(self, sizes: Iterable[int]) -> int:
        """Return the bytes of files of these sizes in whole blocks of the file system."""
        block = os.statvfs(existing(self.root)).f_frsize or 1
        return sum(-(-size // block) * block for size in sizes)

    def size(self, key: str) -> int:
        try:
            return self.path(key).stat().st_size
        except ABSENT:
            return 0

    def links(self) -> Iterator[Path]:
        """Yield all symbolic links in the folder."""
        for place, folders, files in os.walk(self.root):
            yield from (path for name in [*folders, *files] if (path := Path(place, name)).is_symlink())

    def remove_partial(self, folders: Iterable[str]) -> int:
        """Remove temporary files that killed processes left in the root, and in these folders and below; return how many."""
        searches = [
            self.root.glob("*.partial"),
            *((self.root / folder).rglob("*.partial") for folder in folders),
        ]
        found = [path for paths in searches for path in paths if PARTIAL.fullmatch(path.name)]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def remove_empty_folders(self, folders: Iterable[str]) -> None:
        """Remove those of these folders, and of the folders below, that are empty."""
        for top in folders:
            for place, *_ in os.walk(self.root / top, topdown=False):
                with suppress(OSError):  # it holds something
                    os.rmdir(place)

    def _scratch_of(self, path: Path) -> Path:
        """The folder of the temporary file of a path."""
        return self.root / self.scratch if self.scratch else path.parent

    def __str__(self) -> str:
        return str(self.root)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"


class FileSink:
    """A file that grows under a temporary name."""

    def __init__(self, path: Path, unflushed: set[Path]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._partial, self._unflushed = path, _partial(path.parent), unflushed
        self._partial.touch()

    def append(self, data: Data) -> None:
        # Opened each time: more files may be in progress than a process may hold open. Never created: another process may
        # have removed the file because it took this one for dead, and what follows would be a part of the value.
        with open(self._partial, "r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            written = 0
            while written < len(data):
                written += file.write(data[written:])

    def finish(self) -> None:
        os.replace(self._partial, self._path)
        self._unflushed.add(self._path)

    def discard(self) -> None:
        self._partial.unlink(missing_ok=True)


def places_of_replacement(root: Path) -> tuple[Path, Path]:
    """The hidden folders, beside a store and inside of it, that a replacement of its recording may have."""
    folder = Path(os.path.abspath(root))
    return hidden_beside(folder if folder.name else folder / "root", REPLACEMENT), root / f".{REPLACEMENT}"


def replacements_in(root: Path) -> list[Path]:
    """Those of these folders that exist. A link is not one: it would lead into a folder of somebody else."""
    # Unlike Path.is_dir, os.path.isdir raises no error if a name is too long.
    return [place for place in places_of_replacement(root) if os.path.isdir(place) and not place.is_symlink()]


def replacement_of(store: ByteStore) -> LocalStore | None:
    """Return the unfinished recording that will replace the one in a store, if there is one."""
    if not isinstance(store, LocalStore):
        return None
    places = (place for place in replacements_in(store.root) if not os.path.exists(place / COMMITTED))
    return next((LocalStore(place, scratch=store.scratch) for place in places), None)


def _keys(root: Path, prefix: str) -> Iterator[str]:
    """The keys of the files in a folder that start with a prefix."""
    folder, _, _ = prefix.rpartition("/")
    for place, folders, files in os.walk(root / folder if folder else root, onerror=_raise):
        here = Path(place)
        if here == root:
            folders[:] = [name for name in folders if name != f".{REPLACEMENT}"]
            files = [name for name in files if name != COMMITTED]
        # A link to a folder is removed like a file: what it leads to is not part of the store.
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*files, *links]:
            key = (here / name).relative_to(root).as_posix()
            if key.startswith(prefix) and not _is_partial(name):
                yield key


def _partial(folder: Path) -> Path:
    return folder / f".{uuid.uuid4().hex}.partial"


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")


def _raise(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error
