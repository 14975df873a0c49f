"""Files of results (.npz): the dataset that `checkpoint.write` has stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives, json_files
from denoscope.foundation.reading.regular_files import open_regular

if TYPE_CHECKING:
    import xarray

TOLD = "told"
"""The array that holds dimensions and attributes as JSON."""


@dataclass(frozen=True)
class Description:
    """What a file of results says about its arrays."""

    dims: dict[str, list[str]]
    coords: list[str]
    attrs: dict[str, Any]


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
        description = json_files.parse(str(arrays.pop(TOLD)).encode(), Description, f"{TOLD!r} in {path}")
        variables = {name: (tuple(description.dims[name]), values) for name, values in arrays.items()}
        coords = {name: variables.pop(name) for name in description.coords}
        return xarray.Dataset(variables, coords=coords, attrs=description.attrs)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        reason = _reason(error) or "it is damaged or not a file of results"
        raise UserError(f"cannot read {path}: {reason}; {advice}") from error


def _reason(error: Exception) -> str | None:
    return error.strerror if isinstance(error, OSError) else None
