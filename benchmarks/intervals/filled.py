"""Adaptive maps of planes whose labels are known, as `basins.map` makes them with a classifier of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import xarray

from denoscope.basins.blocks import block_of
from denoscope.basins.refinement import Refinement


def filled(
    rng: np.random.Generator, plane: Callable[[np.random.Generator], np.ndarray], audit: int
) -> xarray.DataArray:
    """The labels of an adaptive map of a plane, with its audit."""
    truth = plane(rng)
    found = Refinement(
        label=np.full(truth.shape, -1),
        gap=np.full(truth.shape, np.nan),
        spacing=(1.0, 1.0),
        side=block_of(truth.shape),
        seed=int(rng.integers(1 << 30)),
    )
    for place in found.requests(audit):
        found.label[place] = truth[place]
    return xarray.DataArray(found.label, dims=("y", "x"), attrs={"audit": asdict(found.audit)})
