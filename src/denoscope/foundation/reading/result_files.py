"""Reading of result files (.npz), which `writing.result_files` has written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives, json_files
from denoscope.foundation.reading.regular_files import open_regular

if TYPE_CHECKING:
    import xarray

DESCRIPTION = "told"
"""The array that holds dimensions and attributes as JSON; its name is part of the file format."""


@dataclass(frozen=True)
class Description:
    """The description of a file's arrays; `variables` holds the attributes of those that have some."""

    dims: dict[str, list[str]]
    coords: list[str]
    attrs: dict[str, Any]
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)


def read(
    path: str | os.PathLike[str], *, advice: str = "give the path of a file that denoscope has written"
) -> xarray.Dataset:
    """The dataset that `write` has stored.

    Raises: UserError if the file is missing, damaged or not such a file; `advice` ends the message.
    """
    import xarray

    try:
        # Opened here, because NumPy does not close a file that it cannot read.
        with open_regular(path) as file:
            archives.check_unpacked(file, path)
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        description = json_files.parse(
            str(arrays.pop(DESCRIPTION)).encode(), Description, f"{DESCRIPTION!r} in {path}"
        )
        variables = {
            name: (tuple(description.dims[name]), values, description.variables.get(name, {}))
            for name, values in arrays.items()
        }
        coords = {name: variables.pop(name) for name in description.coords}
        return xarray.Dataset(variables, coords=coords, attrs=description.attrs)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        reason = error.strerror if isinstance(error, OSError) else None
        reason = reason or "it is damaged or not a file of results"
        raise UserError(f"cannot read {path}: {reason}; {advice}") from error
