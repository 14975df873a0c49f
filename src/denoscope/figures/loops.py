"""Drawings of closed loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.loops.correlation_dimension import CorrelationDimension
from denoscope.dynamics.loops.lyapunov import Lyapunov
from denoscope.dynamics.loops.orbit_diagram import OrbitDiagram
from denoscope.dynamics.loops.recurrence import Recurrence
from denoscope.dynamics.statistics.arguments import parse_points
from denoscope.figures import plots
from denoscope.figures.arguments import check_drawing, check_label, check_values
from denoscope.figures.plots import check_axis
from denoscope.foundation.arguments import calls_checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@calls_checked
def draw_orbit_diagram(ax: Axes, result: OrbitDiagram) -> Axes:
    """Draw all values of an `orbit_diagram` over their parameters."""
    check_drawing(ax, result, "orbit_diagram", OrbitDiagram)
    columns = np.repeat(result.parameters, result.values.shape[1])
    ax.plot(columns, result.values.ravel(), ".", markersize=4, alpha=0.5, markeredgewidth=0)
    ax.set(xlabel="parameter", ylabel="observable along the orbit")
    return ax


@calls_checked
def draw_orbit(ax: Axes, states: Any) -> Axes:
    """Draw the distance by which each iteration of an orbit [iteration, …] moves its state, which falls if the orbit settles."""
    check_axis(ax)
    points = parse_points(states, name="states", minimum=2)
    ax.plot(np.arange(1, len(points)), np.linalg.norm(np.diff(points, axis=0), axis=1), linewidth=1)
    plots.whole_ticks(ax.xaxis)
    ax.set(yscale="log", xlabel="iteration", ylabel="distance from the state before (L2)")
    return ax


@calls_checked
def draw_lyapunov(ax: Axes, result: Mapping[float, Lyapunov], *, label: str | None = None) -> Axes:
    """Draw the largest Lyapunov exponent for each parameter with its interval, if it has one, and a dashed line at 0."""
    check_drawing(ax, result, "lyapunov for each parameter, {parameter: lyapunov(…)}", Mapping)
    check_values(result, "result", Lyapunov, "lyapunov")
    check_label(label)
    parameters = sorted(result)
    values = np.array([result[parameter].exponents[0] for parameter in parameters])
    ends = np.array([result[parameter].intervals[0] for parameter in parameters])
    ax.errorbar(
        parameters,
        values,
        np.abs(ends.T - values),
        fmt="o-",
        markersize=4,
        linewidth=1,
        capsize=2,
        label=label,
    )
    ax.axhline(0, color="#333333", linewidth=0.8, linestyle="--")
    ax.set(xlabel="parameter", ylabel="largest exponent (ln, per iteration)")
    if label:
        ax.legend(frameon=False, fontsize="small")
    return ax


@calls_checked
def draw_recurrence(ax: Axes, result: Recurrence) -> Axes:
    """Draw the recurrence matrix: a dot for each pair of times whose states are close."""
    check_drawing(ax, result, "recurrence", Recurrence)
    ax.imshow(result.matrix, origin="lower", cmap="binary", interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        plots.whole_ticks(axis)
    ax.set(xlabel="iteration", ylabel="iteration")
    return ax


@calls_checked
def draw_correlation_sum(ax: Axes, result: CorrelationDimension) -> Axes:
    """Draw the correlation sum over the radius, both logarithmic, with the fitted range thick and its slope in the legend."""
    check_drawing(ax, result, "correlation_dimension", CorrelationDimension)
    from matplotlib.ticker import LogFormatter

    seen = result.sums > 0
    low, high = result.fit_range
    fitted = seen & (result.radii >= low) & (result.radii <= high)
    ax.plot(result.radii[seen], result.sums[seen], linewidth=1)
    ax.plot(
        result.radii[fitted],
        result.sums[fitted],
        linewidth=3,
        label=f"slope {result.value:.2f}, bound {result.bound:.1f}",
    )
    ax.set(xscale="log", yscale="log", xlabel="radius (L2)", ylabel="share of pairs within it")
    # Radii rarely span two decades, so that minor ticks need labels too.
    ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    ax.legend(frameon=False, fontsize="small")
    return ax
