"""The geometry of trajectories: length, straightness, speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_numbers, parse_trajectories
from denoscope.dynamics.trajectories.levels import state_levels
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class PathGeometry(Result):
    """Step lengths, turning angles, length, chord, straightness and speed of each trajectory.

    `step_lengths` [sample, step]; `turning_angles` [sample, step − 1] in radians, between a step and the next; `lengths`,
    `chords` and `straightness` [sample] of the whole; `speeds` [sample, step] if `sigmas` [state] are known; `timesteps`
    [state] if the sequence has them. Angles and ratios that do not exist are NaN, with a warning.
    """

    rows: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("step_lengths", "turning_angles", "lengths", "chords", "straightness", "speeds"), "sample"
        ),
        "sigmas": "state",
        "timesteps": "state",
    }
    step_lengths: np.ndarray
    turning_angles: np.ndarray
    lengths: np.ndarray
    chords: np.ndarray
    straightness: np.ndarray
    speeds: np.ndarray | None = None
    sigmas: np.ndarray | None = None
    timesteps: np.ndarray | None = None


@calls_checked
def path_geometry(trajectories: Any, *, sigmas: Any = None) -> PathGeometry:
    """Length, turning angles and speed of trajectories [sample, state, …], in L2.

    With v_k = x_{k+1} − x_k: step length ‖v_k‖; length Σ ‖v_k‖ and chord ‖x_N − x_0‖ of the whole trajectory;
    straightness chord/length, 1 for a straight line; turning angle between v_k and v_{k+1}, 0 straight on, π/2 for
    independent steps in many dimensions, π back; speed in noise level ‖v_k‖/|σ_{k+1} − σ_k|, with sigmas [state].

    Interpretation: under DDIM without clipping, the speed of x_t/√alphas_cumprod is the norm of the predicted noise, which is
    √numbers if it is white. The measures are exact functions of each trajectory, so they have no interval.

    Caveats: on paths that are not smooth (stochastic schedulers) length and turning grow with the number of steps, so
    compare only at the same steps. On a variance-preserving schedule x_t shrinks by a known factor, which bends paths;
    divide x_t by √alphas_cumprod first to see the effect of the denoiser. Computed in float64.

    Args:
        trajectories: a tensor, or an array of NumPy or xarray, such as `recording.sequence`.
        sigmas: noise level of each state; by default the `sigma` coordinate of the trajectories, if they have one.

    Raises: UserError if there are fewer than two states, or two consecutive noise levels are equal.
    """
    paths = parse_trajectories(trajectories, name="trajectories", minimum=2)
    coordinates = state_levels(trajectories)
    sigmas = coordinates.get("sigma") if sigmas is None else sigmas
    levels = None if sigmas is None else _parse_levels(sigmas, paths.shape[1])
    steps = np.diff(paths, axis=1)
    step_lengths = np.linalg.norm(steps, axis=2)
    lengths = step_lengths.sum(axis=1)
    chords = np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1)
    return PathGeometry(
        step_lengths=step_lengths,
        turning_angles=_turning(steps, step_lengths),
        lengths=lengths,
        chords=chords,
        straightness=np.minimum(
            np.divide(chords, lengths, out=np.full(len(paths), np.nan), where=lengths > 0), 1
        ),
        speeds=None if levels is None else step_lengths / np.abs(np.diff(levels)),
        sigmas=levels,
        timesteps=coordinates.get("timestep"),
        origin={"samples": len(paths), "states": paths.shape[1], "numbers": paths.shape[2]},
        warnings=_warnings(step_lengths),
    )


def _turning(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Angles between consecutive steps, as 2 atan2(‖a − b‖, ‖a + b‖) of unit vectors, which is accurate near 0 and π."""
    moving = lengths > 0
    units = steps / np.where(moving, lengths, 1)[:, :, None]
    before, after = units[:, :-1], units[:, 1:]
    angles = 2 * np.arctan2(np.linalg.norm(before - after, axis=2), np.linalg.norm(before + after, axis=2))
    return np.where(moving[:, :-1] & moving[:, 1:], angles, np.nan)


def _parse_levels(sigmas: Any, states: int) -> np.ndarray:
    """The noise level of every state, consecutive ones different."""
    levels = parse_numbers(sigmas, "sigmas")
    if levels.shape != (states,):
        raise UserError(
            f"sigmas has shape {list(levels.shape)}; allowed: [{states}], one noise level for each state"
        )
    if levels.min() < 0:
        raise UserError(f"sigmas holds {levels.min():g}; allowed: noise levels of at least 0")
    still = np.flatnonzero(np.diff(levels) == 0)
    if len(still):
        step = int(still[0])
        raise UserError(
            f"sigmas is {levels[step]:g} before and after step {step}; allowed: consecutive levels that differ, or there is no "
            "speed; leave that state out"
        )
    return levels


def _warnings(step_lengths: np.ndarray) -> tuple[str, ...]:
    still = np.argwhere(step_lengths == 0)
    if not len(still):
        return ()
    sample, step = still[0]
    return (
        f"{len(still)} steps have length 0, the first one in sample {sample}, step {step}: angles there are NaN, and so is the "
        "straightness of a trajectory that never moves",
    )
