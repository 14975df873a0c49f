"""Dimension and verdict of a zoomed boundary, decade by decade."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray

from denoscope.basins.zooming.zoom_levels import UNSTABLE
from denoscope.dynamics.boundaries.nested_planes import judge_nested

ROUNDING = 1e-9
"""Relative rounding error of a half-width, which must not move it to the next decade."""


def with_decades(data: xarray.Dataset) -> xarray.Dataset:
    """The levels of a zoom, and along `decade` the dimension of the boundary and the verdict on the levels of each.

    Levels whose labels rounding decides, or that have one label, do not count.
    """
    half_width, labels = data["half_width"].values, data["label"].values
    usable = np.array([np.ptp(level) > 0 for level in labels], bool) & ~(
        data["unstable_share"].values > UNSTABLE
    )
    decade = np.floor(np.log10(half_width[0] / half_width) + ROUNDING).astype(int)
    rows = [
        _row(labels[chosen], half_width[chosen], int(number))
        for number in np.unique(decade[usable])
        if (chosen := usable & (decade == number)).any()
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    pairs = {name: ("decade", "bound") for name in columns if name.endswith(("_interval", "_range"))}
    variables = {name: (pairs.get(name, ("decade",)), values) for name, values in columns.items()}
    numbers = variables.pop("decade", (("decade",), np.zeros(0, int)))
    return data.assign(variables).assign_coords(decade=numbers)


def _row(labels: np.ndarray, half_width: np.ndarray, number: int) -> dict[str, Any]:
    found = judge_nested(list(labels), half_width, seed=number)
    return {
        "decade": number,
        "decade_range": (half_width[0], half_width[-1]),
        "decade_levels": len(labels),
        "decade_dimension": found.fit.slope,
        "decade_dimension_interval": found.interval or (math.nan, math.nan),
        "verdict": found.judgement.kind,
        "reason": found.judgement.reason,
    }
