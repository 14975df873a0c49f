"""The results within a file that a measure, a map, a zoom or patching has written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.dynamics import stored_result
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files, result_files

if TYPE_CHECKING:
    import xarray

    from denoscope.dynamics.result import Result


@arguments_checked
def read(path: str | os.PathLike[str]) -> Mapping[str, Result | xarray.Dataset]:
    """The results in a file by name, as their measures returned them; "" names the only one of a file.

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
    return results_of(json_files.read(path, dict[str, Any]), str(path))


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
        raise UserError(f"{name} holds no results; allowed: a file that a measure has written")
    return found
