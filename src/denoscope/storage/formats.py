"""The formats of recordings: which one a store holds, and what reads, checks and writes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from denoscope.foundation.errors import UserError
from denoscope.storage.completion import Mark
from denoscope.storage.output_lock import Existing
from denoscope.storage.plan import Plan, Writer
from denoscope.storage.pt import check as pt_check
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.pt import reader as pt_reader
from denoscope.storage.pt import writer as pt_writer
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import check as zarr_check
from denoscope.storage.zarr import layout as zarr_layout
from denoscope.storage.zarr import reader as zarr_reader
from denoscope.storage.zarr import sizes as zarr_sizes
from denoscope.storage.zarr import writer as zarr_writer

if TYPE_CHECKING:
    import xarray


class Layout(Protocol):
    """What describes a recording, in its format."""

    MARKS: str

    def is_recording(self, store: ByteStore, /) -> bool: ...
    def attributes(self, store: ByteStore, /) -> dict[str, Any]: ...
    def set_attribute(self, store: ByteStore, name: str, value: Any, /) -> None: ...


class Check(Protocol):
    """What compares a recording with its marks, in its format."""

    def extent(self, store: ByteStore, /) -> tuple[int, int]: ...
    def claimed(self, store: ByteStore, group: int, /) -> str: ...
    def damaged_layout(self, store: ByteStore, /) -> Iterator[str]: ...
    def damaged(self, store: ByteStore, group: int, mark: Mark, /) -> Iterator[str]: ...
    def part_of(self, store: ByteStore, mark: Mark, arrays: Collection[str], /) -> Mark: ...


class WriterClass(Protocol):
    """What writes a recording, in its format."""

    def check(self, store: ByteStore, plan: Plan, existing: Existing, /) -> None:
        """Check that a recording may be written and fits; nothing is touched."""

    def opened(self, store: ByteStore, plan: Plan, existing: Existing, /) -> AbstractContextManager[Writer]:
        """Yield a writer that has the store to itself."""


@dataclass(frozen=True)
class Format:
    """One format of recordings. Temporary files of a local folder lie in `scratch`."""

    layout: Layout
    check: Check
    writer: WriterClass
    open_dataset: Callable[[ByteStore], xarray.Dataset]
    needed_bytes: Callable[[ByteStore, Plan, Sequence[int] | None], int]
    scratch: str = ""


FORMATS: Mapping[str, Format] = {
    "pt": Format(
        pt_layout,
        pt_check,
        pt_writer.PtWriter,
        pt_reader.open_dataset,
        pt_writer.needed_bytes,
        pt_layout.MARKS,
    ),
    "zarr": Format(
        zarr_layout,
        zarr_check,
        zarr_writer.ZarrWriter,
        zarr_reader.open_dataset,
        zarr_sizes.needed_bytes,
    ),
}


def local_store(path: Path, format: str) -> LocalStore:
    """Return the store of a local recording in a format."""
    return LocalStore(path, scratch=FORMATS[format].scratch)


def stored_format(store: ByteStore) -> str | None:
    """Return the name of the format of the recording in a store; None if the store holds no recording.

    Raises: UserError if the store cannot be read.
    """
    try:
        return next((name for name, kind in FORMATS.items() if kind.layout.is_recording(store)), None)
    except OSError as error:
        raise UserError(
            f"cannot read {store}: {error.strerror or error}; check its permissions, or name another recording"
        ) from error


def open_dataset(store: ByteStore) -> xarray.Dataset:
    """Return the recording in a store as a lazily read dataset.

    Raises: UserError if there is none, a newer denoscope wrote it, or it cannot be read.
    """
    return FORMATS[stored_format(store) or "zarr"].open_dataset(store)


def attributes(store: ByteStore) -> dict[str, Any]:
    """Return the attributes of the recording in a store; nothing if there is none."""
    name = stored_format(store)
    return FORMATS[name].layout.attributes(store) if name else {}


def set_attribute(path: Path, name: str, value: Any) -> None:
    """Write one attribute into a local recording."""
    format = stored_format(LocalStore(path)) or "zarr"
    FORMATS[format].layout.set_attribute(local_store(path, format), name, value)
