"""Drawings of the geometry of trajectories and states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.trajectories.participation import Participation
from denoscope.dynamics.trajectories.path_geometry import PathGeometry
from denoscope.dynamics.trajectories.similarity import SimilarityMatrix
from denoscope.dynamics.trajectories.trajectory_distances import TrajectoryDistances
from denoscope.figures import images as pictures
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import arguments_checked, calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 24
"""How many rows of a matrix are named."""


@calls_checked
def draw_path(ax: Axes, result: PathGeometry) -> Axes:
    """Draw the step lengths of a `path_geometry`: the median over samples, and their middle half as a band."""
    check_drawing(ax, result, "path_geometry", PathGeometry)
    _draw_steps(ax, result.step_lengths)
    ax.set_ylabel("length of the step (L2)")
    return ax


@calls_checked
def draw_turns(ax: Axes, result: PathGeometry) -> Axes:
    """Draw the angles of a `path_geometry` between a step and the next: the median over samples, their middle half as a band."""
    check_drawing(ax, result, "path_geometry", PathGeometry)
    _draw_steps(ax, result.turning_angles)
    ax.set_ylabel("angle to the next step (rad)")
    return ax


def _draw_steps(ax: Axes, values: np.ndarray) -> None:
    """Draw the quartiles of values [sample, step] over the steps."""
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
    style.curve(ax, np.arange(values.shape[1]), middle, (low, high))
    ticks.whole(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("denoising step")


@arguments_checked
def draw_speed(ax: Axes, result: PathGeometry, *, label: str | None = None) -> Axes:
    """Draw the speed in noise level of a `path_geometry` over the level before each step, which decreases to the right.

    The line is the median over samples, the band their middle half.

    Raises: UserError if the geometry has no sigmas.
    """
    check_drawing(ax, result, "path_geometry", PathGeometry)
    if result.speeds is None or result.sigmas is None:
        raise UserError(
            "this path_geometry has no speeds; call path_geometry with sigmas, the noise level of every state"
        )
    low, middle, high = np.quantile(result.speeds, (0.25, 0.5, 0.75), axis=0)
    style.curve(ax, result.sigmas[:-1], middle, (low, high), ".-", label=label)
    ax.set(xlabel="noise level σ", ylabel="speed (L2 per σ)")
    ticks.logarithmic(ax, "x")
    # bottom=0 alone would fix the top at that of the first curve.
    ax.set_ylim(0, 1.05 * ax.dataLim.y1)
    ax.xaxis.set_inverted(True)
    if label:
        style.legend(ax)
    return ax


@calls_checked
def draw_distances(ax: Axes, result: TrajectoryDistances) -> Axes:
    """Draw `trajectory_distances` as a matrix, trajectories of a in rows and of b in columns, by name if they have names.

    The diagonal of a single set is white, because its zeros would use up most of the colours.
    """
    check_drawing(ax, result, "trajectory_distances", TrajectoryDistances)
    same_set = result.origin["b"] is None
    values = (
        np.where(np.eye(len(result.values), dtype=bool), np.nan, result.values) if same_set else result.values
    )
    image = ax.imshow(values, cmap="viridis", interpolation="nearest")
    style.colorbar(ax, image, f"{result.metric} distance")
    if result.samples:
        _name_both(ax, result.samples)
        return ax
    for axis in (ax.xaxis, ax.yaxis):
        ticks.whole(axis)
    ax.set(xlabel="trajectory", ylabel="trajectory")
    return ax


@arguments_checked
def draw_participation(ax: Axes, result: Participation, *, label: str | None = None) -> Axes:
    """Draw the participation ratio of each state with its interval, and dashed the ratio corrected for few samples.

    Where the two differ, the ratio depends on the number of samples.
    """
    check_drawing(ax, result, "participation", Participation)
    states = np.arange(len(result.ratio))
    low, high = result.intervals.T
    ends = low, np.where(np.isfinite(high), high, low)
    line = style.curve(ax, states, result.ratio, ends, label=label)
    ax.plot(states, result.corrected, color=line.get_color(), linewidth=style.THIN, linestyle="--")
    ticks.whole(ax.xaxis)
    ax.set(xlabel="state", ylabel="participation ratio (dashed: corrected)")
    if label:
        style.legend(ax)
    return ax


@arguments_checked
def draw_similarity(ax: Axes, result: SimilarityMatrix, *, names: Sequence[str] = ()) -> Axes:
    """Draw the debiased linear CKA of every pair of sets of states.

    Args:
        names: one for each set; by default those of the result.
    """
    check_drawing(ax, result, "cka_matrix", SimilarityMatrix)
    count, names = len(result.debiased), list(names) or result.sets
    if len(names) not in (0, count):
        raise UserError(f"names has {len(names)} entries; allowed: {count}, one for each set of states")
    image = ax.imshow(np.clip(result.debiased, 0, 1), vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    style.colorbar(ax, image, "linear CKA, debiased")
    if not len(names):
        for axis in (ax.xaxis, ax.yaxis):
            ticks.whole(axis)
        ax.set(xlabel="set", ylabel="set")
    else:
        _name_both(ax, names)
    return ax


def _name_both(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows and the columns of a matrix, some if there are many."""
    chosen = pictures.evenly(len(names), MOST_NAMES) if len(names) > 1 else [0]
    shown = [ticks.shortened(names[k]) for k in chosen]
    ax.set_xticks(chosen, shown, rotation=90, fontsize=style.small(ax))
    ax.set_yticks(chosen, shown, fontsize=style.small(ax))
