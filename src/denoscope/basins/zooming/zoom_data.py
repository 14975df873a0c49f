"""The dataset of a zoom, before its first level and after its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.blank_map import attributes, empty_cells
from denoscope.basins.labelling import Labelling
from denoscope.basins.map_warnings import map_warnings
from denoscope.basins.refinement import MEANINGS
from denoscope.basins.zooming.decades import with_decades
from denoscope.dynamics.boundaries.audit import BOUNDS, Audit
from denoscope.dynamics.boundaries.label_plane import doubling_boxes
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.noise.plane_noise import PlaneNoise

if TYPE_CHECKING:
    import xarray

NUMBERS = (
    "dimension",
    "uncertainty_exponent",
    "curvature",
    "curvature_error",
    "growth",
    "unstable_share",
    *BOUNDS,
)
INTERVALS = ("dimension_interval", "uncertainty_interval")
COUNTS = ("denoised", "network_rows", "filled", "checked", "wrong")
MARKS = ("computed", "rounding_checked", "unstable")
ENDS = {
    "precision": "cells of a further level would be closer than the precision of x_T resolves",
    "levels": "all levels that were asked for are finished",
}
"""Why a zoom ends that finishes all its levels."""


def unfinished(labelling: Labelling, grid: PlaneGrid, options: Mapping[str, Any]) -> xarray.Dataset:
    """The zoom before any work; `options` determine it together with the labelling and the plane."""
    import xarray

    (ny, nx), levels, sides = grid.shape, options["levels"], doubling_boxes(grid.shape)
    marks = {**dict.fromkeys(MARKS, bool), "status": np.int8}
    cells = empty_cells((levels, ny, nx), labelling.nothing, marks)
    half_width = max(grid.plane.lengths) / 2 / options["factor"] ** np.arange(levels, dtype=float)
    return xarray.Dataset(
        {
            **{name: (("level", "y", "x"), values) for name, values in cells.items()},
            **{name: ("level", np.full(levels, np.nan)) for name in NUMBERS},
            **{name: (("level", "bound"), np.full((levels, 2), np.nan)) for name in INTERVALS},
            **{name: ("level", np.zeros(levels, np.int64)) for name in COUNTS},
            "box_counts": (("level", "box"), np.full((levels, len(sides)), np.nan)),
            "finished": ("level", np.zeros(levels, bool)),
            "anchors": (("anchor", "channel", "height", "width"), np.full((3, *grid.plane.shape), np.nan)),
        },
        coords={
            "level": np.arange(levels),
            "half_width": ("level", half_width),
            "box_side": ("box", np.array(sides) - 1),
            "u": (("level", "x"), np.full((levels, nx), np.nan)),
            "v": (("level", "y"), np.full((levels, ny), np.nan)),
        },
        attrs={**attributes({**labelling.origin(grid.made_with), **options}), "stopped": "", "warnings": []},
    )


def finished(data: xarray.Dataset, plane: PlaneNoise, all_levels: str) -> xarray.Dataset:
    """The finished levels of a zoom, its decades, the reason of its end, and warnings.

    Args:
        plane: that of the first level.
        all_levels: the key in `ENDS` of the reason that applies if no level gave one.
    """
    data = with_decades(data.isel(level=np.flatnonzero(data["finished"].values)))
    data["status"].attrs |= MEANINGS
    data.attrs["stopped"] = data.attrs["stopped"] or ENDS[all_levels]
    audit = Audit(**{name: int(data[name].sum()) for name in ("filled", "checked", "wrong")})
    data.attrs["warnings"] = map_warnings(data["nonfinite"].values, audit, plane)
    return data
