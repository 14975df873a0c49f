"""The layouts of recordings: which one a store holds, without PyTorch and NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.storage import layout_checksums
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.damage import DamagedError, damaged
from denoscope.storage.output_lock import check_version
from denoscope.storage.plan import FORMAT, Plan
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.root_file import Root, RootFile
from denoscope.storage.stores.byte_store import ByteStore, exists
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import layout as zarr_layout

MADE_BY = "ds.record(denoiser, x, 'run.zarr') or `denoscope record` makes one"
"""The remedy where there is no recording."""


class Layout(Protocol):
    """The functions and names that describe a recording of one format.

    `MARKS` and `LOCK` are the keys of the folder of its marks and of its lock. Temporary files of a local folder lie in
    `SCRATCH`, or beside the final files if it is empty.
    """

    MARKS: str
    LOCK: str
    SCRATCH: str
    FILE: RootFile[Any]

    def is_claimed(self, root: Root[Any], /) -> bool: ...
    def is_laid_out(self, root: Root[Any], /) -> bool: ...
    def extent(self, root: Root[Any], /) -> Extent: ...
    def lay_out(self, store: ByteStore, plan: Plan, former: Mapping[str, Any], /) -> None: ...


LAYOUTS: Mapping[str, Layout] = {"pt": pt_layout, "zarr": zarr_layout}
"""The layout of each format by its name."""


def recording_in(store: ByteStore) -> tuple[str, Root[Any]] | None:
    """Return the name of the format of the recording in a store, and its root file; None if there is no recording.

    Raises: UserError if the store cannot be read.
    """
    with _reading(store):
        roots = ((name, layout.FILE.read(store)) for name, layout in LAYOUTS.items())
        return next(((name, root) for name, root in roots if root.is_recording), None)


def found(store: ByteStore) -> tuple[str, Root[Any]]:
    """Return what `recording_in` does for a recording whose layout must be complete.

    Raises: UserError if there is no recording, a newer denoscope wrote it, it is not laid out yet, or it is damaged.
    """
    if (recording := recording_in(store)) is None:
        raise _no_recording(store)
    name, root = recording
    with _reading(store):
        check_version(store, root)
    if LAYOUTS[name].is_claimed(root):
        raise UserError(
            f"{store} is empty: its run ended before the first step; replace it ({spelled('overwrite', True)})"
        )
    return name, root


@contextmanager
def _reading(store: ByteStore) -> Iterator[None]:
    """Report in one line that a store cannot be read."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot read {store}: {error.strerror or error}; check its permissions, or name another recording"
        ) from error


def damaged_recording(store: ByteStore, layout: Layout) -> DamagedError | None:
    """The error for a recording of a layout whose root file is missing or damaged; None where there is none."""
    # Only a recording has checksums of its layout.
    if not exists(store, f"{layout.MARKS}/{layout_checksums.NAME}"):
        return None
    problem = next(layout.FILE.read(store).damaged(store), f"{layout.FILE.name} is damaged")
    return damaged(store, problem, {})


def _no_recording(store: ByteStore) -> UserError:
    """The error for a store whose root file is missing, damaged, or not that of a recording."""
    for layout in LAYOUTS.values():
        if error := damaged_recording(store, layout):
            return error
    if isinstance(store, LocalStore) and not os.path.exists(store.root):
        return UserError(f"{store}: no such recording; {MADE_BY}")
    files = " or ".join(layout.FILE.name for layout in LAYOUTS.values())
    return UserError(f"{store} is not a recording: it has no {files} with the format {FORMAT!r}")
