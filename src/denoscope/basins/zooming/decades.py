"""Dimension and verdict of a zoomed boundary, decade by decade."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray

from denoscope.basins.zooming.zoom_levels import UNSTABLE
from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.boundaries.nested_planes import judge_nested

COLUMNS = {
    "decade": (int, ()),
    "decade_range": (float, ("bound",)),
    "decade_levels": (int, ()),
    "decade_dimension": (float, ()),
    "decade_dimension_interval": (float, ("bound",)),
    "verdict": (str, ()),
    "shown": (str, ()),
    "reason": (str, ()),
}
"""The type of each variable along `decade`, and its further dimension."""
ROUNDING = 1e-9
"""Relative rounding error of a half-width, which must not move it to the next decade."""


def with_decades(data: xarray.Dataset) -> xarray.Dataset:
    """The levels of a zoom, and along `decade` the dimension of the boundary and the verdict on the levels of each.

    Levels whose labels rounding decides, or that have one label, do not count.
    """
    half_width, labels = data["half_width"].values, data["label"].values
    usable = is_stable(data) & np.array([np.ptp(level) > 0 for level in labels], bool)
    decade = np.floor(np.log10(half_width[0] / half_width) + ROUNDING).astype(int)
    audits = np.array([Audit(*counts) for counts in _counts(data)], object)
    rows = [
        _row(labels[chosen], half_width[chosen], audits[chosen], number)
        for number in np.unique(decade[usable]).tolist()
        for chosen in [usable & (decade == number)]
    ]
    variables: dict[str, Any] = {
        name: (
            ("decade", *further),
            np.array([row[name] for row in rows], kind).reshape([len(rows), 2][: 1 + len(further)]),
        )
        for name, (kind, further) in COLUMNS.items()
    }
    return data.assign_coords(decade=variables.pop("decade")).assign(variables)


def is_stable(data: xarray.Dataset) -> np.ndarray:
    """Whether the labels of each level of a zoom are not decided by rounding."""
    return ~(data["unstable_share"].to_numpy() > UNSTABLE)


def _counts(data: xarray.Dataset) -> list[tuple[int, int, int]]:
    """The numbers of filled, checked and wrong cells of each level."""
    return list(zip(*(data[name].values.tolist() for name in ("filled", "checked", "wrong")), strict=True))


def _row(labels: np.ndarray, half_width: np.ndarray, audits: np.ndarray, number: int) -> dict[str, Any]:
    found = judge_nested(list(labels), half_width, audits=audits.tolist(), seed=number)
    return {
        "decade": number,
        "decade_range": (half_width[0], half_width[-1]),
        "decade_levels": len(labels),
        "decade_dimension": found.fit.slope,
        "decade_dimension_interval": found.interval or (math.nan, math.nan),
        "verdict": found.judgement.kind,
        "shown": found.shown,
        "reason": found.judgement.reason,
    }
