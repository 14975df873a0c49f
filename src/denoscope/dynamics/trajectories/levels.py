"""The noise level and training timestep of each state of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray

LEVELS = ("sigma", "timestep")
"""The coordinates along the states of a sequence that its measures keep."""


def state_levels(sequence: Any) -> dict[str, np.ndarray]:
    """The `LEVELS` [state] that a sequence carries along its states; empty for a plain array."""
    if not isinstance(sequence, xarray.DataArray):
        return {}
    along = {name: sequence[name] for name in LEVELS if name in sequence.coords}
    return {name: values.to_numpy() for name, values in along.items() if values.dims == sequence.dims[1:2]}
