"""The dataset of a zoom, before its first level and after its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.blank_map import EMPTY
from denoscope.basins.labelling import Labelling
from denoscope.basins.refinement import MEANINGS
from denoscope.basins.zooming.decades import with_decades
from denoscope.dynamics.boundaries.audit import Audit
from denoscope.foundation.checkpoint import IDENTITY
from denoscope.noise.plane_grid import PlaneGrid

if TYPE_CHECKING:
    import xarray

NUMBERS = ("dimension", "uncertainty_exponent", "curvature", "curvature_error", "growth", "unstable_share")
INTERVALS = ("dimension_interval", "uncertainty_interval")
COUNTS = ("denoised", "filled", "checked", "wrong")
MARKS = ("computed", "rounding_checked", "unstable")
ENDS = {
    "precision": "cells of a further level would be closer than the precision of x_T resolves",
    "levels": "all levels that were asked for are finished",
}
"""Why a zoom ends that finishes all its levels."""


def unfinished(labelling: Labelling, grid: PlaneGrid, options: Mapping[str, Any]) -> xarray.Dataset:
    """The zoom before any work; `options` determine it together with the labelling and the plane."""
    import xarray

    (ny, nx), levels = grid.shape, options["levels"]
    kinds = {
        **{name: values.dtype for name, values in labelling.nothing.items()},
        **dict.fromkeys(MARKS, np.dtype(bool)),
    }
    cells = {
        name: np.full((levels, ny, nx), 0 if name == "status" else EMPTY.get(dtype.kind, np.nan), dtype)
        for name, dtype in {**kinds, "status": np.dtype(np.int8)}.items()
    }
    origin = {**labelling.origin(grid.made_with), **options}
    identity = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    half_width = max(grid.plane.lengths) / 2 / options["factor"] ** np.arange(levels, dtype=float)
    return xarray.Dataset(
        {
            **{name: (("level", "y", "x"), values) for name, values in cells.items()},
            **{name: ("level", np.full(levels, np.nan)) for name in NUMBERS},
            **{name: (("level", "bound"), np.full((levels, 2), np.nan)) for name in INTERVALS},
            **{name: ("level", np.zeros(levels, np.int64)) for name in COUNTS},
            "finished": ("level", np.zeros(levels, bool)),
            "anchors": (("anchor", "channel", "height", "width"), np.full((3, *grid.plane.shape), np.nan)),
        },
        coords={
            "level": np.arange(levels),
            "half_width": ("level", half_width),
            "u": (("level", "x"), np.full((levels, nx), np.nan)),
            "v": (("level", "y"), np.full((levels, ny), np.nan)),
        },
        attrs={**origin, "stopped": "", "warnings": [], IDENTITY: {**identity, **origin["fingerprint"]}},
    )


def finished(data: xarray.Dataset, all_levels: str) -> xarray.Dataset:
    """The finished levels of a zoom, its decades, the reason of its end, and warnings.

    Args:
        all_levels: the key in `ENDS` of the reason that applies if no level gave one.
    """
    data = with_decades(data.isel(level=np.flatnonzero(data["finished"].values)))
    data["status"].attrs |= MEANINGS
    data.attrs["stopped"] = data.attrs["stopped"] or ENDS[all_levels]
    data.attrs["warnings"] = _warnings(data)
    return data


def _warnings(data: xarray.Dataset) -> list[str]:
    warnings = []
    if lost := int(data["nonfinite"].sum()):
        warnings.append(f"{lost} of {data['label'].size} cells became NaN or infinite and have the label −1")
    audit = Audit(**{name: int(data[name].sum()) for name in ("filled", "checked", "wrong")})
    if audit.filled:
        warnings.append(
            f"{audit.filled} of {data['label'].size} cells were filled, and {audit.wrong} of {audit.checked} that were "
            f"checked had another label: up to {audit.bound(0.95):.2%} may be wrong (95 %), which measures of the labels "
            "do not account for"
        )
    return warnings
