"""The formats of recordings: which one a store holds, and the functions that read, check and write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.spelling import spelled
from denoscope.storage import layout_checksums
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark
from denoscope.storage.damage import damaged
from denoscope.storage.group_writer import GroupWriter
from denoscope.storage.output_lock import check_version
from denoscope.storage.places import Place, store_at
from denoscope.storage.plan import FORMAT
from denoscope.storage.pt import check as pt_check
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.pt import reader as pt_reader
from denoscope.storage.pt import writer as pt_writer
from denoscope.storage.root_file import Root, RootFile
from denoscope.storage.stores import capabilities
from denoscope.storage.stores.byte_store import ByteStore, exists
from denoscope.storage.stores.local import LocalStore, replacements_in
from denoscope.storage.stores.object_store import ObjectStore
from denoscope.storage.zarr import check as zarr_check
from denoscope.storage.zarr import layout as zarr_layout
from denoscope.storage.zarr import reader as zarr_reader
from denoscope.storage.zarr import writer as zarr_writer

if TYPE_CHECKING:
    import xarray

MADE_BY = "ds.record(denoiser, x, 'run.zarr') or `denoscope record` makes one"
"""The remedy where there is no recording."""


class Layout(Protocol):
    """The functions and names that describe a recording of one format."""

    MARKS: str
    LOCK: str
    FILE: RootFile[Any]

    def is_claimed(self, root: Root[Any], /) -> bool: ...
    def extent(self, root: Root[Any], /) -> Extent: ...
    def set_attribute(self, store: ByteStore, name: str, value: Any, /) -> None: ...


class Check(Protocol):
    """The functions that compare a recording of one format with its marks."""

    def claimed(self, store: ByteStore, marked: Collection[int], /) -> Iterator[str]: ...
    def damaged(self, store: ByteStore, group: int, mark: Mark, planned: Extent, /) -> Iterator[str]: ...
    def part_of(self, root: Root[Any], mark: Mark, arrays: Collection[str], /) -> Mark: ...


@dataclass(frozen=True)
class Format:
    """One format of recordings. Temporary files of a local folder lie in `scratch`."""

    layout: Layout
    check: Check
    writer: type[GroupWriter]
    open_dataset: Callable[[ByteStore, Root[Any], Extent], xarray.Dataset]
    scratch: str = ""


FORMATS: Mapping[str, Format] = {
    "pt": Format(
        pt_layout,
        pt_check,
        pt_writer.PtWriter,
        pt_reader.open_dataset,
        pt_layout.MARKS,
    ),
    "zarr": Format(
        zarr_layout,
        zarr_check,
        zarr_writer.ZarrWriter,
        zarr_reader.open_dataset,
    ),
}


def store_of(place: Place, format_name: str) -> LocalStore | ObjectStore:
    """Return the store of a recording in a format."""
    return store_at(place, scratch=FORMATS[format_name].scratch)


def stored_format(store: ByteStore) -> str | None:
    """Return the name of the format of the recording in a store; None if the store holds no recording.

    Raises: UserError if the store cannot be read.
    """
    found = _found(store)
    return None if found is None else found[0]


def _found(store: ByteStore) -> tuple[str, Root[Any]] | None:
    """The name of the format of the recording in a store, and its root file; None if the store holds no recording.

    Raises: UserError if the store cannot be read.
    """
    try:
        roots = ((name, kind.layout.FILE.read(store)) for name, kind in FORMATS.items())
        return next(((name, root) for name, root in roots if root.is_recording), None)
    except OSError as error:
        raise UserError(
            f"cannot read {store}: {error.strerror or error}; check its permissions, or name another recording"
        ) from error


def found(store: ByteStore) -> tuple[Format, Root[Any]]:
    """Return the format of the recording in a store, whose layout must be complete, and its root file.

    Raises: UserError if there is no recording, a newer denoscope wrote it, it is not laid out yet, or it is damaged.
    """
    if (recording := _found(store)) is None:
        raise _no_recording(store)
    name, root = recording
    check_version(store, root.attributes)
    if FORMATS[name].layout.is_claimed(root):
        raise UserError(
            f"{store} is empty: its run ended before the first step; replace it ({spelled('overwrite', True)})"
        )
    return FORMATS[name], root


def _no_recording(store: ByteStore) -> UserError:
    """The error for a store whose root file is missing, damaged, or not that of a recording."""
    for kind in FORMATS.values():
        # Only a recording has checksums of its layout.
        if exists(store, f"{kind.layout.MARKS}/{layout_checksums.NAME}"):
            problem = next(kind.layout.FILE.damaged(store), f"{kind.layout.FILE.name} is damaged")
            return damaged(store, problem, {})
    if isinstance(store, LocalStore) and not os.path.exists(store.root):
        return UserError(f"{store}: no such recording; {MADE_BY}")
    files = " or ".join(kind.layout.FILE.name for kind in FORMATS.values())
    return UserError(f"{store} is not a recording: it has no {files} with the format {FORMAT!r}")


def check_layout(store: ByteStore) -> tuple[Format, Root[Any], Extent]:
    """Compare the layout and the coordinates of a recording with their checksums.

    Returns what `found` does, and the planned size.

    Raises: UserError naming the first damage; as `found` does.
    """
    kind, root = found(store)
    with _reporting_damage(store, root):
        for problem in root.damaged(store):
            # Recordings from before layout checksums existed have none.
            if problem != f"{kind.layout.MARKS}/{layout_checksums.NAME} is missing":
                raise MalformedError(problem)
        return kind, root, kind.layout.extent(root)


def open_dataset(store: ByteStore) -> xarray.Dataset:
    """Return the recording in a store as a lazily read dataset.

    Its layout, its coordinates and its marks are compared with their checksums once, here.

    Raises: UserError if there is none, a newer denoscope wrote it, it is damaged, or it cannot be read.
    """
    kind, root, planned = check_layout(store)
    with _reporting_damage(store, root):
        return kind.open_dataset(store, root, planned)


@contextmanager
def _reporting_damage(store: ByteStore, root: Root[Any]) -> Iterator[None]:
    """Report in one line which file of a recording is damaged, or why it cannot be read."""
    try:
        yield
    except MalformedError as error:
        raise damaged(store, str(error), root.attributes) from error
    except OSError as error:
        raise UserError(f"cannot read {store}: {error.strerror or error}; check its permissions") from error


def attributes(store: ByteStore) -> dict[str, Any]:
    """Return the attributes of the recording in a store; nothing if there is none."""
    recording = _found(store)
    return {} if recording is None else recording[1].attributes


def attributes_to_resume(place: Place) -> dict[str, Any]:
    """Return the attributes of the recording to resume, or of its unfinished replacement if there is one."""
    replacements = replacements_in(place) if isinstance(place, Path) else []
    candidates = (attributes(store_at(one)) for one in [*replacements, place])
    return next(filter(None, candidates), {})


def remove_partial(place: Place) -> int:
    """Remove the temporary files of killed attempts from a local recording; return how many.

    Nothing is left at a URL, where values are put whole.

    Raises: UserError if another process writes it.
    """
    if not isinstance(place, Path):
        return 0
    kind, _ = found(LocalStore(place))
    store = LocalStore(place, scratch=kind.scratch)
    with _locked(store, kind.layout.LOCK):
        return store.remove_partial(folder.name for folder in place.iterdir() if folder.is_dir())


def set_attribute(place: Place, name: str, value: Any) -> None:
    """Write one attribute into a recording.

    Raises: UserError if another process writes it.
    """
    format_name = stored_format(store_at(place)) or "zarr"
    store, layout = store_of(place, format_name), FORMATS[format_name].layout
    with _locked(store, layout.LOCK):
        layout.set_attribute(store, name, value)


@contextmanager
def _locked(store: ByteStore, lock: str) -> Iterator[None]:
    """Hold the lock of a recording while the block runs.

    Raises: UserError if another process writes it.
    """
    with capabilities.lock(store, lock) as held:
        if not held:
            raise UserError(
                f"{store} is being written by another process{capabilities.holder(store, lock)}; wait for it"
            )
        yield
