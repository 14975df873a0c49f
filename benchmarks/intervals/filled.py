"""Adaptive maps of planes whose labels are known, as `basins.map` makes them with a classifier of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import xarray

from denoscope.basins.random_cells import random_cells
from denoscope.basins.refinement import COMPUTED, Refinement
from denoscope.dynamics.boundaries.audit import Audit

BLOCK = 8
"""The side of the first blocks of 128 cells."""


def filled(
    rng: np.random.Generator, plane: Callable[[np.random.Generator], np.ndarray], audit: int
) -> xarray.DataArray:
    """The labels of an adaptive map of a plane, with its audit."""
    truth = plane(rng)
    seed = int(rng.integers(1 << 30))
    found = Refinement(
        label=np.full(truth.shape, -1),
        gap=np.full(truth.shape, np.nan),
        spacing=(1.0, 1.0),
        side=BLOCK,
        seed=seed,
    )
    for place in found.requests():
        found.label[place] = truth[place]
    is_filled = found.status != COMPUTED
    place = random_cells(is_filled, audit, seed)
    wrong = int(np.count_nonzero(found.label[place] != truth[place]))
    found.label[place] = truth[place]
    result = Audit(filled=int(is_filled.sum()), checked=len(place[0]), wrong=wrong)
    return xarray.DataArray(found.label, dims=("y", "x"), attrs={"audit": asdict(result)})
