"""The shape of trajectories: how long, how straight, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_numbers, parse_trajectories
from denoscope.foundation.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class PathGeometry(Result):
    """Of each trajectory: step lengths [sample, step], turning angles in radians [sample, step − 1] between a step and
    the next, length, chord and straightness [sample] of the whole, and the speed [sample, step] if sigmas [state] were
    given.

    NaN where a direction or ratio does not exist, always told in `warnings`.
    """

    step_lengths: np.ndarray
    turning_angles: np.ndarray
    lengths: np.ndarray
    chords: np.ndarray
    straightness: np.ndarray
    speeds: np.ndarray | None = None
    sigmas: np.ndarray | None = None


def path_geometry(trajectories: Any, *, sigmas: Any = None) -> PathGeometry:
    """Length, turning angles and speed of trajectories [sample, state, …], in L2.

    With v_k = x_{k+1} − x_k: step length ‖v_k‖; length Σ ‖v_k‖ and chord ‖x_N − x_0‖ of the whole trajectory;
    straightness chord/length, 1 for a straight line; turning angle between v_k and v_{k+1}, 0 straight on, π/2 for
    independent steps in many dimensions, π back; speed in noise level ‖v_k‖/|σ_{k+1} − σ_k|, with sigmas [state].
    Where DDIM clips nothing, that of x_t/√alphas_cumprod is the norm of the predicted noise: √numbers where it is white.

    The length grows with the number of steps on any path that isn't smooth (stochastic schedulers), and so does its
    turning: compare only at the same steps. On a variance-preserving schedule x_t also shrinks by a known factor, which
    bends paths; divide x_t by √alphas_cumprod first to see what the denoiser does. Computed in float64.

    The numbers are exact functions of each trajectory, so there is no interval; scatter over samples is theirs.
    Raises: UserError under 2 states, or if the noise level stands still.
    """
    paths = parse_trajectories(trajectories, name="trajectories", minimum=2)
    levels = None if sigmas is None else _levels(sigmas, paths.shape[1])
    steps = np.diff(paths, axis=1)
    step_lengths = np.linalg.norm(steps, axis=2)
    lengths = step_lengths.sum(axis=1)
    chords = np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1)
    return PathGeometry(
        step_lengths=step_lengths,
        turning_angles=_turning(steps, step_lengths),
        lengths=lengths,
        chords=chords,
        straightness=np.divide(chords, lengths, out=np.full(len(paths), np.nan), where=lengths > 0),
        speeds=None if levels is None else step_lengths / np.abs(np.diff(levels)),
        sigmas=levels,
        origin={"samples": len(paths), "states": paths.shape[1], "numbers": paths.shape[2]},
        warnings=_standing(step_lengths),
    )


def _turning(steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Angles between steps in a row, as 2 atan2(‖a − b‖, ‖a + b‖) of unit vectors: exact near 0 and π."""
    moving = lengths > 0
    units = steps / np.where(moving, lengths, 1)[:, :, None]
    before, after = units[:, :-1], units[:, 1:]
    angles = 2 * np.arctan2(np.linalg.norm(before - after, axis=2), np.linalg.norm(before + after, axis=2))
    return np.where(moving[:, :-1] & moving[:, 1:], angles, np.nan)


def _levels(sigmas: Any, states: int) -> np.ndarray:
    """The noise level of every state, refused where two in a row are the same."""
    levels = parse_numbers(sigmas, "sigmas")
    if levels.shape != (states,):
        raise UserError(
            f"sigmas has shape {list(levels.shape)}; trajectories of {states} states need [{states}]"
        )
    still = np.flatnonzero(np.diff(levels) == 0)
    if len(still):
        step = int(still[0])
        raise UserError(
            f"sigmas stands still at {levels[step]:g} over step {step}: there is no speed in noise level; leave that"
            " state out"
        )
    return levels


def _standing(step_lengths: np.ndarray) -> tuple[str, ...]:
    still = np.argwhere(step_lengths == 0)
    if not len(still):
        return ()
    sample, step = still[0]
    return (
        f"{len(still)} steps do not move, the first at sample {sample}, step {step}: angles there, and the straightness of"
        " what never moves, are NaN",
    )
