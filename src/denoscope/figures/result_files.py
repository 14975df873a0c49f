"""The results within a file that a measure, a map, a zoom or patching has written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.dynamics import stored_result
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files, result_files

if TYPE_CHECKING:
    import xarray

    from denoscope.dynamics.result import Result

LOGGER = logging.getLogger(__name__)


@arguments_checked
def read(path: str | os.PathLike[str]) -> Mapping[str, Result | xarray.Dataset]:
    """The results in a file by name, as their measures returned them; "" names the only one of a file.

    A warning names results that another version wrote without all that this one reads.

    >>> ds.figures.read("basins.npz")[""]

    Args:
        path: a .json file of a measure, or an .npz file of a map, a zoom, patching, or a measure with a checkpoint.

    Raises: UserError if the file is missing, damaged, or holds no results.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return {"": result_files.read(path)}
    if path.suffix != ".json":
        raise UserError(f"{path} is no file of results; allowed: a name that ends in .json or .npz")
    content = json_files.read(path, dict[str, Any])
    found = results_of(content, str(path))
    for problem in unreadable(content):
        LOGGER.warning("%s: %s", path, problem)
    return found


def results_of(content: Mapping[str, Any], name: str) -> dict[str, Result]:
    """The results within the JSON values of a file, by name.

    Args:
        name: the file, for messages.

    Raises: UserError if there are none, or one is damaged.
    """
    try:
        found = dict(stored_result.results_in(content))
    except UserError as error:
        raise UserError(f"{name} is damaged: {error}") from error
    if not found:
        reason = next(unreadable(content), "allowed: a file that a measure has written")
        raise UserError(f"{name} holds no results; {reason}")
    return found


def unreadable(content: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each result within the JSON values of a file that this version does not read."""
    for part in stored_result.unknown_in(content):
        yield f"{part or 'it'} was written by another version, without all that this one reads; compute it again"
