"""Opening of recordings, from a path or from an argument that stands for a recording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import on_command_line, spelled
from denoscope.foundation.validation import describe
from denoscope.models import bundled
from denoscope.recording.recording import Recording
from denoscope.storage import formats
from denoscope.storage.formats import MADE_BY
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.plan import COMPLETE
from denoscope.storage.stores.local import LocalStore


@arguments_checked
def open(path: str | os.PathLike[str]) -> Recording:  # noqa: A001
    """The recording at a path: a store NAME.zarr, or an output folder of .pt files.

    Raises: UserError if there is none, or it was written by a newer version of denoscope.
    """
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, it raises no error if a name is too long
        raise UserError(f"{path}: no such recording; {_remedy(path)}")
    return Recording(path, formats.open_dataset(LocalStore(path)))


def parse_recording(given: Any, name: str = "recording") -> Recording:
    """The recording that an argument stands for: a recording itself, or the path of one.

    Args:
        name: the argument, as Python spells it.

    Raises: UserError if it is neither.
    """
    if isinstance(given, Recording):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise UserError(
            f"{spelled(name)} is {describe(given)}; allowed: a recording that ds.open or ds.record returned, or the "
            "path of one"
        )
    return open(given)


def _remedy(path: Path) -> str:
    if str(path) in bundled.names():
        model = f"--model {path}" if on_command_line() else f"ds.load({str(path)!r})"
        return f"a bundled model has that name: {model}"
    return MADE_BY


def check_finished(rec: Recording) -> None:
    """Refuse a recording that lacks samples."""
    if not rec.dataset[COMPLETE].to_numpy().all():
        raise UserError(f"{rec.location} is not finished; {how_to_finish(rec.attrs)}")


def set_attribute(path: str | os.PathLike[str], name: str, value: Any) -> None:
    """Write one attribute into a stored recording.

    Raises: UserError if it cannot be written; the recording is then unchanged.
    """
    path = Path(path)
    try:
        formats.set_attribute(path, name, value)
    except OSError as error:
        raise UserError(
            f"cannot write {name} into {path}: {error.strerror or error}; the recording is unchanged: make room there, "
            "or copy it to a place that you can write to"
        ) from error
