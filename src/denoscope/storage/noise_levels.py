"""The timestep and the noise level sigma of each state and step, as coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray

LEVELS = ("timestep", "sigma")
OF_STATES = {name: f"state_{name}" for name in LEVELS}
"""The coordinates of the levels of all states if only some steps are stored: in a store, a name has one dimension."""


def level_coords(
    timesteps: np.ndarray, sigmas: np.ndarray, recorded: Sequence[int]
) -> dict[str, tuple[str, np.ndarray]]:
    """Return the coordinates that a recording stores, from the levels [steps] of all steps.

    `timestep` and `sigma` are those of the recorded steps. If these are not all steps, `state_timestep` and `state_sigma`
    are those of all states.
    """
    levels = dict(zip(LEVELS, (timesteps, sigmas), strict=True))
    coords = {name: ("step", values[recorded]) for name, values in levels.items()}
    if len(recorded) < len(timesteps):
        coords |= {OF_STATES[name]: ("state", _of_states(name, values)) for name, values in levels.items()}
    return coords


def with_levels(sequence: xarray.DataArray, coords: Mapping[Any, xarray.DataArray]) -> xarray.DataArray:
    """Return a sequence with coordinates `timestep` and `sigma` along its states, from those of its recording.

    State k has the levels of step k, which turns it into state k+1; the last state, x_0, has sigma 0 and timestep NaN.
    Recordings of some steps by denoscope 0.1 lack the levels of the others, which are NaN.
    """
    count = sequence.sizes["state"] - 1
    for name, of_states in OF_STATES.items():
        if of_states in coords:
            values = coords[of_states].to_numpy()
        else:
            steps = np.full(count, np.nan)
            steps[coords["step"].to_numpy()] = coords[name].to_numpy()
            values = _of_states(name, steps)
        sequence = sequence.drop_vars(of_states, errors="ignore").assign_coords({name: ("state", values)})
    return sequence


def _of_states(name: str, steps: np.ndarray) -> np.ndarray:
    """The levels of all states [steps+1] from those of all steps."""
    return np.append(np.asarray(steps, np.float64), 0.0 if name == "sigma" else np.nan)
