"""Writing of result files (.npz): a dataset with its dimensions and attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import as_json
from denoscope.foundation.reading.result_files import DESCRIPTION
from denoscope.foundation.writing import npz_files
from denoscope.foundation.writing.atomic_files import write_output

if TYPE_CHECKING:
    import xarray


def write(data: xarray.Dataset, path: Path) -> None:
    """Write a dataset to a file (.npz) atomically.

    Each variable and coordinate becomes an array of its name; `told` holds dimensions and attributes as JSON.
    """
    arrays = {str(name): _plain_text(values.to_numpy()) for name, values in data.variables.items()}
    if DESCRIPTION in arrays:
        raise UserError(f"a variable is named {DESCRIPTION!r}, as files name their description; rename it")
    description = {
        "dims": {str(name): list(values.dims) for name, values in data.variables.items()},
        "coords": [str(name) for name in data.coords],
        "attrs": as_json(data.attrs),
    }
    if of_variables := {str(name): as_json(one.attrs) for name, one in data.variables.items() if one.attrs}:
        description["variables"] = of_variables
    with write_output(path) as file:
        npz_files.write(file, {DESCRIPTION: np.array(json.dumps(description)), **arrays})


def _plain_text(values: np.ndarray) -> np.ndarray:
    """Texts as an array of fixed width: NumPy would write its variable-width strings as a pickle."""
    return np.array(values.tolist()) if values.dtype.kind == "T" else values
