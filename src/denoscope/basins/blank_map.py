"""A map of basins before any work: its variables, coordinates, and everything that determines its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.refinement import UNKNOWN
from denoscope.foundation.checkpoint import IDENTITY
from denoscope.models.classifier.labels import REJECTED
from denoscope.noise.plane_grid import PlaneGrid

if TYPE_CHECKING:
    import xarray

EMPTY = {"i": REJECTED, "b": False}
"""The value of a cell before it is computed, by the kind of its dtype; NaN for others."""


def blank_map(
    grid: PlaneGrid, nothing: Mapping[str, np.ndarray], attrs: Mapping[str, Any], *, adaptive: bool
) -> xarray.Dataset:
    """A map without labels.

    Args:
        nothing: the answers of its labelling for no noises.
        attrs: what `attributes` gives; they may be empty for a part of a larger result, which has its own.
    """
    import xarray

    marks = {"computed": bool, **({"status": np.int8} if adaptive else {})}
    return xarray.Dataset(
        {name: (("y", "x"), values) for name, values in empty_cells(grid.shape, nothing, marks).items()},
        coords=grid.coords,
        attrs={**attrs, "network_rows": 0, "warnings": []},
    )


def empty_cells(
    shape: tuple[int, ...], nothing: Mapping[str, np.ndarray], marks: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Arrays of cells before any is computed: of answers, by those for no noises, and of marks, by their dtypes."""
    dtypes = {name: values.dtype for name, values in nothing.items()} | {
        name: np.dtype(kind) for name, kind in marks.items()
    }
    return {
        name: np.full(shape, UNKNOWN if name == "status" else EMPTY.get(dtype.kind, np.nan), dtype)
        for name, dtype in dtypes.items()
    }


def attributes(origin: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that say what determines the labels, which the name of a model does not.

    Args:
        origin: everything that determines them; see `Labelling.origin`.
    """
    identity = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return {**origin, IDENTITY: {**identity, **origin["fingerprint"]}}
