"""Drawings of closed loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.loops.correlation_dimension import CorrelationDimension
from denoscope.dynamics.loops.fixed_points import FixedPoints
from denoscope.dynamics.loops.lyapunov import Lyapunov
from denoscope.dynamics.loops.orbit_diagram import OrbitDiagram
from denoscope.dynamics.loops.periodicity import Periodicity
from denoscope.dynamics.loops.recurrence import Recurrence
from denoscope.dynamics.loops.zero_one import ZeroOne
from denoscope.dynamics.statistics.arguments import parse_points
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing, check_label, check_values
from denoscope.figures.plots import check_axis
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@calls_checked
def draw_orbit_diagram(ax: Axes, result: OrbitDiagram) -> Axes:
    """Draw all values of an `orbit_diagram` over their parameters."""
    check_drawing(ax, result, "orbit_diagram", OrbitDiagram)
    columns = np.repeat(result.parameters, result.values.shape[1])
    ax.plot(
        columns,
        result.values.ravel(),
        ".",
        color=style.CURVES[0],
        markersize=style.MARKER,
        alpha=0.5,
        markeredgewidth=0,
    )
    ax.set(xlabel="parameter", ylabel="observable along the orbit")
    return ax


@calls_checked
def draw_orbit(ax: Axes, states: Any) -> Axes:
    """Draw the distance by which each iteration of an orbit [iteration, …] moves its state, which falls if the orbit settles."""
    check_axis(ax)
    points = parse_points(states, name="states", minimum=2)
    ax.plot(
        np.arange(1, len(points)),
        np.linalg.norm(np.diff(points, axis=0), axis=1),
        color=style.CURVES[0],
        linestyle="-",
        linewidth=style.LINE,
    )
    ticks.whole(ax.xaxis)
    ax.set(xlabel="iteration", ylabel="distance from the state before (L2)")
    ticks.logarithmic(ax, "y")
    return ax


@calls_checked
def draw_lyapunov(ax: Axes, result: Mapping[float, Lyapunov], *, label: str | None = None) -> Axes:
    """Draw the largest Lyapunov exponent for each parameter with its interval, if it has one, and a dashed line at 0.

    Several calls on one axis differ in colour, dashes and markers.
    """
    check_drawing(ax, result, "lyapunov for each parameter, {parameter: lyapunov(…)}", Mapping)
    check_values(result, "result", Lyapunov, "lyapunov")
    check_label(label)
    parameters = sorted(result)
    values = np.array([result[parameter].exponents[0] for parameter in parameters])
    ends = np.array([result[parameter].intervals[0] for parameter in parameters])
    number = len(ax.containers)
    color, dashes = style.look(number)
    marker = style.MARKERS[number % len(style.MARKERS)]
    style.points(ax, parameters, values, ends, marker, color=color, linestyle=dashes, label=label)
    style.reference(ax, y=0)
    ax.set(xlabel="parameter", ylabel="largest exponent (ln, per iteration)")
    if label:
        style.legend(ax)
    return ax


@calls_checked
def draw_convergence(ax: Axes, result: Lyapunov) -> Axes:
    """Draw the exponents of one `lyapunov` over the iterations that they were computed from, and a dashed line at 0.

    The last points carry the intervals, if there are some.
    """
    check_drawing(ax, result, "lyapunov", Lyapunov)
    for number, history in enumerate(result.history.T):
        color, dashes = style.look(number)
        ax.plot(result.history_iterations, history, linestyle=dashes, color=color,
                linewidth=style.LINE, label=f"exponent {number + 1}")  # fmt: skip
        last = result.history_iterations[-1:], result.exponents[[number]], result.intervals[number]
        style.points(ax, *last, "none", ecolor=color)
    style.reference(ax, y=0)
    ticks.whole(ax.xaxis)
    ax.set(xlabel="iteration", ylabel="exponent (ln, per iteration)")
    style.legend(ax)
    return ax


@calls_checked
def draw_zero_one(ax: Axes, result: ZeroOne) -> Axes:
    """Draw the correlation K_c of the 0–1 test at each frequency c, and K, their median: near 1 for chaos, near 0 for order."""
    check_drawing(ax, result, "zero_one", ZeroOne)
    ax.plot(result.frequencies, result.correlations, ".", color=style.CURVES[0], markersize=style.MARKER)
    style.reference(ax, y=result.value, label=f"K = {result.value:.2f}")
    ax.set(xlabel="frequency c", ylabel="$K_c$", ylim=(-1.05, 1.05))
    style.legend(ax)
    return ax


@calls_checked
def draw_periodicity(ax: Axes, result: Periodicity) -> Axes:
    """Draw the largest distance between states that are p iterations apart over p, and a dashed line at the period."""
    check_drawing(ax, result, "periodicity", Periodicity)
    periods = np.arange(1, len(result.returns) + 1)
    ax.plot(
        periods, result.returns, "o-", color=style.CURVES[0], markersize=style.MARKER, linewidth=style.LINE
    )
    if result.period is not None:
        style.reference(ax, x=result.period, label=f"period {result.period}")
        style.legend(ax)
    ticks.whole(ax.xaxis)
    ax.set(xlabel="iterations apart", ylabel="largest distance / size of the orbit")
    if (result.returns > 0).all():
        ticks.logarithmic(ax, "y")
    return ax


@calls_checked
def draw_fixed_points(ax: Axes, result: FixedPoints) -> Axes:
    """Draw how many orbits reached each of the `fixed_points`, and how many reached none."""
    check_drawing(ax, result, "fixed_points", FixedPoints)
    counts = np.bincount(result.reached + 1, minlength=len(result.points) + 1)
    names = ["none", *map(str, range(len(result.points)))]
    ax.bar(names, counts, color=[style.QUIET, *[style.CURVES[0]] * len(result.points)])
    ticks.whole(ax.yaxis)
    ax.set(xlabel="fixed point", ylabel="orbits that reached it")
    return ax


@calls_checked
def draw_recurrence(ax: Axes, result: Recurrence) -> Axes:
    """Draw the recurrence matrix: a dot for each pair of times whose states are close."""
    check_drawing(ax, result, "recurrence", Recurrence)
    if result.matrix is None:
        raise UserError(
            "this recurrence has no matrix, which files leave out; call recurrence with the points of the orbit"
        )
    ax.imshow(result.matrix, origin="lower", cmap="binary", interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        ticks.whole(axis)
    ax.set(xlabel="iteration", ylabel="iteration")
    return ax


@calls_checked
def draw_correlation_sum(ax: Axes, result: CorrelationDimension) -> Axes:
    """Draw the correlation sum over the radius, both logarithmic, with the fitted range thick and its slope in the legend."""
    check_drawing(ax, result, "correlation_dimension", CorrelationDimension)
    seen = result.sums > 0
    low, high = result.fit_range
    fitted = seen & (result.radii >= low) & (result.radii <= high)
    ax.plot(result.radii[seen], result.sums[seen], color=style.CURVES[0], linestyle="-", linewidth=style.THIN)
    ax.plot(
        result.radii[fitted],
        result.sums[fitted],
        color=style.CURVES[0],
        linestyle="-",
        linewidth=2 * style.LINE,
        label=f"slope {result.value:.2f}, bound {result.bound:.1f}",
    )
    ax.set(xlabel="radius (L2)", ylabel="share of pairs within it")
    ticks.logarithmic(ax, "x", "y")
    style.legend(ax)
    return ax
