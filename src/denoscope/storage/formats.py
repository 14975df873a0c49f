"""The formats of recordings: the functions that read, check and write those that have a layout."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import layout_checksums, layouts
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark
from denoscope.storage.damage import damaged
from denoscope.storage.group_writer import GroupWriter
from denoscope.storage.layouts import LAYOUTS, Layout, recording_in
from denoscope.storage.places import Place, store_at
from denoscope.storage.pt import check as pt_check
from denoscope.storage.pt import reader as pt_reader
from denoscope.storage.pt import writer as pt_writer
from denoscope.storage.root_file import Root
from denoscope.storage.stores import capabilities
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.local import LocalStore, replacement_of
from denoscope.storage.stores.object_store import ObjectStore
from denoscope.storage.zarr import check as zarr_check
from denoscope.storage.zarr import reader as zarr_reader
from denoscope.storage.zarr import writer as zarr_writer

if TYPE_CHECKING:
    import xarray


class Check(Protocol):
    """The functions that compare a recording of one format with its marks."""

    def claimed(self, store: ByteStore, marked: Collection[int], /) -> Iterator[str]: ...
    def damaged(self, store: ByteStore, group: int, mark: Mark, planned: Extent, /) -> Iterator[str]: ...
    def part_of(self, root: Root[Any], mark: Mark, arrays: Collection[str], /) -> Mark: ...


@dataclass(frozen=True)
class Format:
    """One format of recordings."""

    layout: Layout
    check: Check
    writer: type[GroupWriter]
    open_dataset: Callable[[ByteStore, Root[Any], Extent], xarray.Dataset]


FORMATS: Mapping[str, Format] = {
    "pt": Format(LAYOUTS["pt"], pt_check, pt_writer.PtWriter, pt_reader.open_dataset),
    "zarr": Format(LAYOUTS["zarr"], zarr_check, zarr_writer.ZarrWriter, zarr_reader.open_dataset),
}


def store_of(place: Place, format_name: str) -> LocalStore | ObjectStore:
    """Return the store of a recording in a format."""
    return store_at(place, scratch=LAYOUTS[format_name].SCRATCH)


def stored_format(store: ByteStore) -> str | None:
    """Return the name of the format of the recording in a store; None if the store holds no recording.

    Raises: UserError if the store cannot be read.
    """
    recording = recording_in(store)
    return None if recording is None else recording[0]


def found(store: ByteStore) -> tuple[Format, Root[Any]]:
    """Return the format of the recording in a store, whose layout must be complete, and its root file.

    Raises: UserError as `layouts.found` does.
    """
    name, root = layouts.found(store)
    return FORMATS[name], root


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
    recording = recording_in(store)
    return {} if recording is None else recording[1].attributes


def attributes_to_resume(place: Place) -> dict[str, Any]:
    """Return the attributes of the recording to resume, or of its unfinished replacement if there is one."""
    store = store_at(place)
    replacement = replacement_of(store)
    return (attributes(replacement) if replacement else {}) or attributes(store)


def remove_partial(place: Place) -> int:
    """Remove the temporary files of killed attempts from a local recording; return how many.

    Nothing is left at a URL, where values are put whole.

    Raises: UserError if another process writes it.
    """
    if not isinstance(place, Path):
        return 0
    kind, _ = found(LocalStore(place))
    store = LocalStore(place, scratch=kind.layout.SCRATCH)
    with _locked(store, kind.layout.LOCK):
        return store.remove_partial(folder.name for folder in place.iterdir() if folder.is_dir())


def set_attribute(place: Place, name: str, value: Any) -> None:
    """Write one attribute into a recording.

    Raises: UserError if another process writes it.
    """
    format_name = stored_format(store_at(place)) or "zarr"
    store, layout = store_of(place, format_name), FORMATS[format_name].layout
    with _locked(store, layout.LOCK):
        layout.FILE.set_attribute(store, name, value)


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
