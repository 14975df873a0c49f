"""Recordings that replace others: they are written to a hidden folder, and put in place when they are complete.

The hidden folder lies beside a Zarr store that holds nothing but the recording, otherwise inside the output. The file
`COMMITTED` in it says that the replacement is complete. From then on `LocalStore` reads it instead of the former
recording, wherever its files lie, and the next process that claims the output completes an interrupted move.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from denoscope.foundation.reading import json_files
from denoscope.foundation.writing.atomic_files import sync
from denoscope.storage import completion, layout_checksums, space
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark, WriteMark
from denoscope.storage.layouts import Layout
from denoscope.storage.output_lock import Existing, check_inside, claimed, is_same_work
from denoscope.storage.plan import Plan, StoredUnit
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.local import (
    COMMITTED,
    LocalStore,
    places_of_replacement,
    replacement_of,
    replacements_in,
)
from denoscope.storage.watching import work_notes

LOGGER = logging.getLogger(__name__)
MARK_NAMES = "|".join([r"\d+\.json", *map(re.escape, (layout_checksums.NAME, work_notes.NAME))])
"""A pattern of the files among the completion marks."""
RENAME_EXCHANGE, AT_FDCWD = 2, -100
"""Constants of Linux."""


@dataclass(frozen=True)
class Kind:
    """How a format's recordings are begun, written, continued and recognised.

    If `exchanges` is set, a replacement may be written beside the store and exchanged with it.
    """

    layout: Layout
    exchanges: bool
    check: Callable[[ByteStore, Plan, Existing], None]
    needed_bytes: Callable[[ByteStore, Plan, Sequence[int] | None], int]
    unit: Callable[[ByteStore, Plan, Sequence[int], WriteMark], StoredUnit]
    damaged: Callable[[ByteStore, int, Mark, Extent], Iterator[str]]
    begin: Callable[[ByteStore, Plan], None]
    withdraw: Callable[[ByteStore, Plan, Collection[int]], None]
    """Removes all that is there of some groups."""
    clean: Callable[[ByteStore, Plan], None]
    own_keys: Callable[[ByteStore, Plan], list[str]]
    """The keys in a store that a recording's writer made, or that the planned one will have."""


@dataclass(frozen=True)
class Committed:
    """The content of the file `COMMITTED`: the keys of the former recording, and those that the new one does not have."""

    former: list[str]
    gone: list[str]


@contextmanager
def opened(
    kind: Kind, store: ByteStore, plan: Plan, existing: Existing, check: Callable[[], None]
) -> Iterator[tuple[ByteStore, dict[int, Mark]]]:
    """Yield the store to write to, and the groups that are finished in it, without checksums; the output is locked by then.

    A replacement that is complete when the block ends takes the place of the former recording.
    """
    settled = partial(settle, kind, store)
    with claimed(store, kind.layout.LOCK, plan.attrs, check, settled):
        target, finished = _target(kind, store, plan, existing)
        if not isinstance(target, LocalStore) or not isinstance(store, LocalStore) or target is store:
            yield target, finished
            return
        with target.lock(kind.layout.LOCK):
            try:
                yield target, finished
            except BaseException:
                if plan.attrs.get("pipeline"):  # it cannot be continued
                    _discard(target.root)
                raise
            if set(plan.groups) <= completion.marked(target, kind.layout.MARKS):
                _commit(kind, store, target, kind.own_keys(store, plan))


def continued(kind: Kind, store: ByteStore, plan: Plan) -> tuple[LocalStore, Root[Any]] | None:
    """Return the unfinished replacement that is the planned work, and its root file, if there is one."""
    if (candidate := replacement_of(store)) is None:
        return None
    root = kind.layout.FILE.read(candidate)
    if not kind.layout.is_laid_out(root) or not is_same_work(root.attributes, plan.attrs):
        return None
    return None if any(root.damaged(candidate)) else (candidate, root)


def freed(kind: Kind, store: ByteStore, plan: Plan) -> int:
    """Return the bytes that are removed before the first byte of a new recording is written.

    On a local disk the former recording stays until the new one is complete.
    """
    if isinstance(store, LocalStore):
        # One that is complete replaces the former recording, which frees about as much.
        waiting = map(LocalStore, replacements_in(store.root))
        return sum(space.stored_bytes(one, one.list()) for one in waiting)
    return space.stored_bytes(store, kind.own_keys(store, plan))


def settle(kind: Kind, store: ByteStore) -> None:
    """Finish a replacement that was complete when its writer was killed."""
    if not isinstance(store, LocalStore):
        return
    for place in replacements_in(store.root):
        if (place / COMMITTED).exists():
            _put_in_place(kind, store, LocalStore(place, scratch=kind.layout.SCRATCH))
    if (store.root / COMMITTED).exists():
        _remove_former(store)


def _target(
    kind: Kind, store: ByteStore, plan: Plan, existing: Existing
) -> tuple[ByteStore, dict[int, Mark]]:
    """The store to write to, and the groups that are finished in it."""
    if existing != "refuse" and (unfinished := continued(kind, store, plan)):
        return unfinished[0], _resume(kind, *unfinished, plan)
    if isinstance(store, LocalStore):
        for place in places_of_replacement(store.root):
            _discard(place)
    if existing == "resume":
        root = kind.layout.FILE.read(store)
        if kind.layout.is_laid_out(root):
            return store, _resume(kind, store, root, plan)
        LOGGER.info("nothing to resume at %s: the recording starts from the beginning", store)
    keys, target = kind.own_keys(store, plan), store
    if (
        existing == "overwrite"
        and isinstance(store, LocalStore)
        and set(keys) - {kind.layout.LOCK, kind.layout.FILE.name}
    ):
        target = LocalStore(_new_place(kind, store, keys), scratch=kind.layout.SCRATCH)
    kind.begin(target, plan)
    return target, {}


def _resume(kind: Kind, store: ByteStore, root: Root[Any], plan: Plan) -> dict[int, Mark]:
    """Remove everything that is unfinished or damaged in a recording with this root file.

    Returns the finished groups with their marks, without the checksums.
    """
    layout = kind.layout
    if any(root.damaged(store)):
        layout.lay_out(store, plan, root.attributes)
    work_notes.remove(store, layout.MARKS)
    finished = {
        group: replace(mark, files={})  # most of its bytes
        for group, mark in completion.read(store, layout.MARKS)
        if not any(kind.damaged(store, group, mark, plan.extent))
    }
    pending = [group for group in plan.groups if group not in finished]
    if pending:
        kind.withdraw(store, plan, pending)
    kind.clean(store, plan)
    space.check(store, kind.needed_bytes(store, plan, pending))
    return finished


def _new_place(kind: Kind, store: LocalStore, keys: Iterable[str]) -> Path:
    """A new folder for a replacement."""
    beside, inside = places_of_replacement(store.root)
    if kind.exchanges and _holds_only(store, keys):
        with suppress(OSError):  # the folder above may belong to somebody else
            beside.mkdir()
            return beside
    inside.mkdir()
    return inside


def _holds_only(store: LocalStore, keys: Iterable[str]) -> bool:
    """Whether the folder of a store, neither a link nor a mount, holds nothing but the recording with these keys."""
    if store.root.is_symlink() or os.path.ismount(store.root) or set(store.list()) - set(keys):
        return False
    folders = {parent.as_posix() for key in keys for parent in Path(key).parents}
    existing = {
        Path(place, name).relative_to(store.root).as_posix()
        for place, names, _ in os.walk(store.root)
        for name in names
    }
    return existing <= folders


def _commit(kind: Kind, store: LocalStore, new: LocalStore, former: list[str]) -> None:
    """Put a complete replacement in the place of the recording with the `former` keys."""
    new.flush()
    gone = sorted(set(former) - set(new.list()) - {kind.layout.LOCK})
    # The write of this file decides: before it the former recording is read, after it the new one.
    new.put(COMMITTED, json.dumps(asdict(Committed(former, gone))).encode())
    new.flush()
    _put_in_place(kind, store, new)


def _put_in_place(kind: Kind, store: LocalStore, new: LocalStore) -> None:
    """Move the files of a complete replacement that are not in place yet."""
    committed = _committed(new.root, store)
    beside, _ = places_of_replacement(store.root)
    if new.root == beside and _holds_only(store, committed.former) and _exchange(new.root, store.root):
        sync(store.root.absolute().parent)
        _remove_former(store)
        return
    keys = set(new.list()) - {kind.layout.LOCK}
    if kind.layout.FILE.name in keys:
        store.remove_partial(_folders(committed.former))
        # Without it, other readers see no recording instead of parts of both.
        _unlink(store, [kind.layout.FILE.name, *committed.gone])
        for key in sorted(keys - {kind.layout.FILE.name}):
            store.adopt(key, new.root / key)
        store.flush()
        store.adopt(kind.layout.FILE.name, new.root / kind.layout.FILE.name)
        store.flush()
    _discard(new.root)


def _remove_former(store: LocalStore) -> None:
    """Remove the recording whose place another one has taken."""
    beside, _ = places_of_replacement(store.root)
    if beside.is_dir():
        old = LocalStore(beside)
        former = _committed(store.root, old).former
        old.remove_partial(_folders(former))
        _unlink(old, former)
        with suppress(OSError):  # another process has just put something there
            beside.rmdir()
    (store.root / COMMITTED).unlink(missing_ok=True)


def _committed(place: Path, store: LocalStore) -> Committed:
    """What the file in `place` says of the files in a store; it may come from somebody else, as the store does."""
    committed = json_files.read(place / COMMITTED, Committed)
    check_inside(store, [*committed.former, *committed.gone])
    return committed


def _folders(keys: Iterable[str]) -> set[str]:
    """The folders in the root of a store that hold some keys."""
    return {key.partition("/")[0] for key in keys if "/" in key}


def _unlink(store: LocalStore, keys: Iterable[str]) -> None:
    """Remove files, and the folders that hold nothing afterwards."""
    folders: set[str] = set()
    for key in keys:
        (store.root / key).unlink(missing_ok=True)
        folders.update(parent.as_posix() for parent in Path(key).parents if parent.name)
    for folder in sorted(folders, key=len, reverse=True):
        with suppress(OSError):  # it holds something, or is gone
            (store.root / folder).rmdir()


def _discard(place: Path) -> None:
    """Remove a replacement, last the file that says whether it is complete."""
    if place.is_symlink():
        place.unlink()
    if not place.is_dir():
        return
    for path in place.iterdir():
        if path.name != COMMITTED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(place)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; returns whether the system can do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # not Linux
        return False
    if not rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        return True
    if (number := ctypes.get_errno()) in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EBUSY, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number))
