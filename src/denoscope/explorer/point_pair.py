"""Two noises side by side: how far their sequences are apart, and what lies on the line between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.coordinates import coordinate, middle_of
from denoscope.explorer.point_sequence import check_layers
from denoscope.explorer.tile_address import CellAddress
from denoscope.foundation.dtypes import name_of

PLACES = 64
"""Points of the line between two cells, both ends among them."""


def point_pair(
    atlas: Atlas, a: CellAddress, b: CellAddress, layers: Sequence[str] = ()
) -> Iterator[dict[str, Any] | None]:
    """One answer, as JSON values, after None for each step.

    `separation` holds the L2 distance of the two states x_T … x_0, or from the images with noise on, and `layers` that of the states of each layer at each
    step. `path` holds the label at 64 evenly spaced points of the line from a to b in the plane. Both noises are computed
    in the precision of the deeper one, except for the labels at both ends of the line: they are those of the two cells.

    Raises: UserError if a cell is too deep, or a layer is unknown.
    """
    check_layers(layers)
    level = max(a.level, b.level)
    dtype = atlas.dtype(level)
    noises = torch.cat([atlas.plane.noise(cell, dtype) for cell in (a, b)])
    x = [] if atlas.start else [noises]
    apart: dict[str, list[float]] = defaultdict(list)
    for step in atlas.denoise(noises, level, layers):
        x += [step.x_after] if x else [step.x_before, step.x_after]
        for name, states in step.states.items():
            apart[name].append(_distance(states))
        yield None
    path = atlas.labelling(level)(_line(atlas, a, b, dtype))["label"]
    for end, cell in ((0, a), (-1, b)):
        if atlas.dtype(cell.level) != dtype:
            path[end] = _label(atlas, cell)
    yield {
        "cells": [str(a), str(b)],
        "separation": [_distance(state) for state in x],
        "layers": apart,
        "path": path.tolist(),
        "precision": name_of(dtype),
    }


def _label(atlas: Atlas, cell: CellAddress) -> int:
    """The label that a cell has in its tile."""
    noise = atlas.plane.noise(cell, atlas.dtype(cell.level))
    return int(atlas.labelling(cell.level)(noise)["label"][0])


def _line(atlas: Atlas, a: CellAddress, b: CellAddress, dtype: torch.dtype) -> torch.Tensor:
    """The noises [64, C, H, W] of the line from a to b, which begins and ends with the bits of both cells."""
    near = a if a.level >= b.level else b
    anchor, length = near.tile.anchor, atlas.plane.length
    part = atlas.plane.anchored(anchor).in_precision(dtype)
    middles = middle_of(anchor, length)
    ends = [
        [
            coordinate(index, cell.level, length) - middle
            for index, middle in zip((cell.i, cell.j), middles, strict=True)
        ]
        for cell in (a, b)
    ]
    shares = [Fraction(k, PLACES - 1) for k in range(PLACES)]
    points = [[float(p + share * (q - p)) for p, q in zip(*ends, strict=True)] for share in shares]
    return part.at(np.array(points))


def _distance(states: torch.Tensor) -> float:
    """The L2 distance of two states [2, …], rounded to six digits."""
    return float(f"{float((states[1].double() - states[0].double()).norm()):.6g}")
