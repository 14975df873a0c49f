"""Drawings of the statistics of a plane of labels: shares, entropies, Wada boundaries and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from denoscope.config import SystemConfig
from denoscope.dynamics.boundaries.basin_entropy import BasinEntropy
from denoscope.dynamics.boundaries.basin_fractions import BasinFractions
from denoscope.dynamics.boundaries.verdict import Verdict
from denoscope.dynamics.boundaries.wada import Wada
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import arguments_checked, calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@arguments_checked
def draw_basin_fractions(
    ax: Axes, result: BasinFractions, *, colors: Sequence[str] = SystemConfig.class_colors
) -> Axes:
    """Draw the share of each class with its interval; the class −1 is hatched.

    Raises: UserError if there are fewer colours than classes.
    """
    check_drawing(ax, result, "basin_fractions", BasinFractions)
    if max(result.classes, default=0) >= len(colors):
        raise UserError(
            f"classes go up to {max(result.classes)} and there are {len(colors)} colors; allowed: one for each class"
        )
    places = np.arange(len(result.classes))
    faces = [style.UNKNOWN if k < 0 else colors[k] for k in result.classes]
    bars = ax.bar(places, result.fractions, color=faces, edgecolor=style.INK, linewidth=0.4)
    for bar, k in zip(bars, result.classes, strict=True):
        if k < 0:
            bar.set(hatch=style.HATCH, edgecolor=style.HATCHED)
    style.points(ax, places, result.fractions, result.intervals, "none", ecolor=style.INK)
    ax.set_xticks(places, ["none" if k < 0 else str(k) for k in result.classes])
    ax.set(xlabel="class", ylabel="share of the plane", ylim=(0, None))
    return ax


@calls_checked
def draw_basin_entropy(ax: Axes, result: BasinEntropy) -> Axes:
    """Draw the basin entropy and the entropy of boundary boxes over the side of the box, with their ranges.

    A dashed line marks ln 2, above which a boundary with smooth pieces between two classes does not lie.
    """
    check_drawing(ax, result, "basin_entropy", BasinEntropy)
    sides = np.atleast_1d(np.asarray(result.box))
    for number, (values, interval, name) in enumerate(
        (
            (result.entropy, result.entropy_interval, "all boxes"),
            (result.boundary_entropy, result.boundary_interval, "boxes with several labels"),
        )
    ):
        form, color = f"{style.MARKERS[number]}-", style.CURVES[number]
        style.points(ax, sides, np.atleast_1d(values), interval, form, color=color, label=name)
    style.reference(ax, y=math.log(2), label="ln 2")
    ticks.whole(ax.xaxis)
    ax.set(xlabel="side of the box (cells)", ylabel="entropy (nats)", ylim=(0, None))
    style.legend(ax)
    return ax


@calls_checked
def draw_wada(ax: Axes, result: Wada) -> Axes:
    """Draw the share of boundary boxes that hold all classes over the side of the box, at both resolutions.

    Error bars are intervals. If the boundary has the Wada property, smaller boxes hold all classes as well.
    """
    check_drawing(ax, result, "wada", Wada)
    style.points(
        ax, result.boxes, result.fractions, result.intervals, "o-", color=style.CURVES[0], label="every cell"
    )
    ax.plot(result.boxes, result.coarse_fractions, "s", linestyle=style.DASHES[1], color=style.CURVES[1], label="every second cell",
            markersize=style.MARKER, linewidth=style.LINE)  # fmt: skip
    ticks.whole(ax.xaxis)
    ax.set(xlabel="side of the box (cells)", ylabel="share with all classes", ylim=(0, 1.05))
    style.legend(ax)
    return ax


@calls_checked
def draw_verdict(ax: Axes, result: Verdict) -> Axes:
    """Draw the local dimensions of a boundary over the length, beside the range of straight boundaries and of shuffled cells.

    The verdict is the title. The range in which a fractal scales is shaded.

    Raises: UserError if the boundary has no dimension.
    """
    check_drawing(ax, result, "verdict", Verdict)
    fit = result.dimension.fit
    if result.dimension.interval is None:
        raise UserError(f"this boundary has no dimension to draw: {result.reason}")
    middles = np.sqrt(fit.sides[1:] * fit.sides[:-1])
    for number, (null, name) in enumerate(
        (("straight", "straight boundaries"), ("shuffle", "shuffled cells"))
    ):
        low, high = result.nulls[null].local_slopes.T
        ax.fill_between(
            middles, low, high, color=style.CURVES[number + 1], alpha=0.25, linewidth=style.LINE, label=name
        )
    style.points(
        ax, middles, fit.local_slopes, fit.local_intervals, "o-", color=style.CURVES[0], label="this boundary"
    )
    if result.scales is not None:
        ax.axvspan(*result.scales, color=style.QUIET, alpha=0.15, linewidth=0)
    style.title(ax, result.verdict)
    ax.set(xlabel="length (spacings between cells)", ylabel="local dimension")
    ticks.logarithmic(ax, "x")
    style.legend(ax)
    return ax
