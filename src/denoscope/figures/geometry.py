"""The geometry of trajectories and states drawn on a given matplotlib axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.trajectories.participation import Participation
from denoscope.dynamics.trajectories.path_geometry import PathGeometry
from denoscope.dynamics.trajectories.similarity import SimilarityMatrix
from denoscope.dynamics.trajectories.trajectory_distances import TrajectoryDistances
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_path(ax: Axes, found: PathGeometry) -> Axes:
    """The length of every step of a `path_geometry`, and on a second axis the angle between it and the next: medians
    over samples, with bands over their middle half."""
    beside = ax.twinx()
    angles = np.degrees(found.turning_angles)
    for axis, values, name, color in (
        (ax, found.step_lengths, "length of the step (L2)", "C0"),
        (beside, angles, "turn to the next (degrees)", "C1"),
    ):
        low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
        steps = np.arange(values.shape[1])
        axis.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        axis.plot(steps, middle, color=color)
        axis.set_ylabel(name, color=color)
        axis.set_ylim(bottom=0)
    ax.set_xlabel("denoising step")
    return ax


def draw_speed(ax: Axes, found: PathGeometry, *, label: str | None = None) -> Axes:
    """The speed in noise level of a `path_geometry` over the level that each step begins with, which falls to the right:
    the median over samples, with a band over their middle half.

    Raises: UserError if the geometry was made without sigmas.
    """
    if found.speeds is None or found.sigmas is None:
        raise UserError(
            "this path_geometry has no speeds; make it with sigmas=, the noise level of every state"
        )
    low, middle, high = np.quantile(found.speeds, (0.25, 0.5, 0.75), axis=0)
    sigma = found.sigmas[:-1]
    (line,) = ax.plot(sigma, middle, ".-", markersize=4, label=label)
    ax.fill_between(sigma, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    ax.set(xscale="log", xlabel="noise level σ", ylabel="speed (L2 per σ)")
    # Not bottom=0 alone, which would fix the top at that of what is drawn first.
    ax.set_ylim(0, 1.05 * ax.dataLim.y1)
    ax.xaxis.set_inverted(True)
    if label:
        ax.legend(frameon=False, fontsize="small")
    return ax


def draw_distances(ax: Axes, found: TrajectoryDistances) -> Axes:
    """The `trajectory_distances` of every trajectory of a (rows) to every one of b (columns), or to those of the same set,
    whose diagonal is left white: its zeros would take up most of the colours.
    """
    same_set = found.origin["b"] is None
    values = (
        np.where(np.eye(len(found.values), dtype=bool), np.nan, found.values) if same_set else found.values
    )
    image = ax.imshow(values, cmap="viridis", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=f"{found.metric} distance")
    ax.set(xlabel="trajectory", ylabel="trajectory")
    return ax


def draw_participation(ax: Axes, found: Participation, *, label: str | None = None) -> Axes:
    """The participation ratio by state with its interval, and dashed the one corrected for the number of samples: where
    the two part, the ratio tells of the samples rather than of the states."""
    states = np.arange(len(found.ratio))
    low, high = found.intervals.T
    (line,) = ax.plot(states, found.ratio, label=label)
    ax.fill_between(
        states, low, np.where(np.isfinite(high), high, low), color=line.get_color(), alpha=0.2, linewidth=0
    )
    ax.plot(states, found.corrected, color=line.get_color(), linewidth=0.8, linestyle="--")
    ax.set(xlabel="state", ylabel="participation ratio (dashed: corrected)")
    if label:
        ax.legend(frameon=False, fontsize="small")
    return ax


def draw_similarity(ax: Axes, found: SimilarityMatrix, *, names: Sequence[str] = ()) -> Axes:
    """The debiased linear CKA of every set of states with every other; `names` one for each set."""
    image = ax.imshow(np.clip(found.debiased, 0, 1), vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="linear CKA, debiased")
    if names:
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize="small")
        ax.set_yticks(range(len(names)), names, fontsize="small")
    return ax
