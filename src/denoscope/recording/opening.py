"""Opening of recordings, from a path or from an argument that stands for a recording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError, missing_library
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.spelling import on_command_line, spelled
from denoscope.foundation.validation import describe, parse_choice
from denoscope.models import bundled
from denoscope.recording.recording import Recording
from denoscope.storage import formats
from denoscope.storage.layouts import MADE_BY
from denoscope.storage.places import Place, parse_place, store_at

if TYPE_CHECKING:
    import xarray


@arguments_checked
def open(path: str | os.PathLike[str], *, chunks: Literal["auto"] | None = None) -> Recording:  # noqa: A001
    """The recording at a path: a store NAME.zarr, or an output folder of .pt files; or a store at a URL.

    >>> ds.open("s3://bucket/run.zarr", chunks="auto")

    A recording may be opened while it is written: it then shows the samples that are complete.

    Args:
        chunks: "auto" makes the arrays Dask arrays, which read one shard at a time and can be larger than the memory.

    Raises: UserError if there is none, or it was written by a newer version of denoscope.
    """
    place = parse_place(path)
    # Unlike Path.exists, os.path.exists raises no error if a name is too long.
    if isinstance(place, Path) and not os.path.exists(place):
        raise UserError(f"{place}: no such recording; {_remedy(place)}")
    dataset = formats.open_dataset(store_at(place))
    chosen = chunks is not None and parse_choice(chunks, "chunks", ("auto",))
    return Recording(place, _chunked(dataset) if chosen else dataset)


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
    check_possible(given, name)
    return open(given)


def _remedy(path: Path) -> str:
    if str(path) in bundled.names():
        model = f"--model {path}" if on_command_line() else f"ds.load({str(path)!r})"
        return f"a bundled model has that name: {model}"
    return MADE_BY


def place_for_workers(rec: Recording) -> Place:
    """Where the workers of a cluster find a recording.

    Raises: UserError if it is in memory.
    """
    if rec.path is None:
        raise UserError(
            f"a recording in memory cannot be shared with workers; record it to a store, or leave out {spelled('cluster')}"
        )
    return rec.path.absolute() if isinstance(rec.path, Path) else rec.path


def set_attribute(path: str | os.PathLike[str], name: str, value: Any) -> None:
    """Write one attribute into a stored recording.

    Raises: UserError if it cannot be written; the recording is then unchanged.
    """
    place = parse_place(path)
    try:
        formats.set_attribute(place, name, value)
    except OSError as error:
        raise UserError(
            f"cannot write {name} into {place}: {error.strerror or error}; the recording is unchanged: make room there, "
            "or copy it to a place that you can write to"
        ) from error


def _chunked(dataset: xarray.Dataset) -> xarray.Dataset:
    """The dataset with Dask arrays in whose chunks it is stored: shards, or files of a sample each.

    Raises: UserError if Dask is not installed.
    """
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        raise missing_library('chunks="auto"', "Dask", "cluster") from error
    chunked = {
        name: array.variable.chunk(array.encoding.get("preferred_chunks", {"sample": 1}))
        for name, array in dataset.data_vars.items()
    }
    return dataset.assign(chunked)
