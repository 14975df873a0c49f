"""Attributes and texts of datasets in types that every file format takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def writable(attributes: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return attributes as texts and numbers, as netCDF has them; all other values are JSON texts.

    >>> writable({"model": "mnist", "inputs": {"seed": 5}, "condition": []})
    {'model': 'mnist', 'inputs': '{"seed": 5}', 'condition': '[]'}
    """
    return {
        name: value
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
        else json.dumps(value)
        for name, value in attributes.items()
    }


def variable_texts(values: np.ndarray) -> np.ndarray:
    """Return texts in the dtype in which zarr reads and writes them, whose lengths vary; other values as they are."""
    if values.dtype.kind != "U":
        return values
    dtype: Any = np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else object  # before NumPy 2
    return values.astype(dtype)
