"""A map of basins before any work: its variables, coordinates, and everything that determines its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.labelling import Labelling
from denoscope.foundation.checkpoint import IDENTITY
from denoscope.models.classifier.labels import REJECTED
from denoscope.noise.plane_grid import PlaneGrid

if TYPE_CHECKING:
    import xarray

EMPTY = {"i": REJECTED, "b": False}
"""The value of a cell before it is computed, by the kind of its dtype; NaN for others."""


def blank_map(grid: PlaneGrid, labelling: Labelling, options: Mapping[str, Any]) -> xarray.Dataset:
    """A map without labels; `options` are those of an adaptive map, empty for an exact one."""
    import xarray

    cells = {
        name: np.full(grid.shape, EMPTY.get(values.dtype.kind, np.nan), values.dtype)
        for name, values in {**labelling.nothing, "computed": np.zeros(0, bool)}.items()
    }
    if options:
        cells["status"] = np.zeros(grid.shape, np.int8)
    origin = {**labelling.origin(grid.made_with), **options}
    identity = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return xarray.Dataset(
        {name: (("y", "x"), values) for name, values in cells.items()},
        coords=grid.coords,
        attrs={**origin, "warnings": [], IDENTITY: {**identity, **origin["fingerprint"]}},
    )
