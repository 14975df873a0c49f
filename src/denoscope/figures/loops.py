"""Measures of closed loops drawn on a given matplotlib axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.loops.correlation_dimension import CorrelationDimension
from denoscope.dynamics.loops.lyapunov import Lyapunov
from denoscope.dynamics.loops.orbits import OrbitDiagram
from denoscope.dynamics.loops.recurrence import Recurrence
from denoscope.dynamics.statistics.arguments import parse_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_orbit_diagram(ax: Axes, found: OrbitDiagram) -> Axes:
    """All values that an `orbit_diagram` holds, above their parameters."""
    columns = np.repeat(found.parameters, found.values.shape[1])
    ax.plot(columns, found.values.ravel(), ".", markersize=4, alpha=0.5, markeredgewidth=0)
    ax.set(xlabel="parameter", ylabel="observable along the orbit")
    return ax


def draw_orbit(ax: Axes, states: Any) -> Axes:
    """How far each iteration of an orbit [iteration, …] moves its state: it falls where the orbit settles, down to rounding."""
    points = parse_points(states, name="states", minimum=2)
    ax.plot(np.arange(1, len(points)), np.linalg.norm(np.diff(points, axis=0), axis=1), linewidth=1)
    ax.set(yscale="log", xlabel="iteration", ylabel="distance from the state before (L2)")
    return ax


def draw_lyapunov(ax: Axes, found: Mapping[float, Lyapunov], *, label: str | None = None) -> Axes:
    """The largest exponent of each parameter with its interval; a dashed line where neighbours neither part nor meet."""
    parameters = sorted(found)
    values = np.array([found[parameter].exponents[0] for parameter in parameters])
    ends = np.array([found[parameter].intervals[0] for parameter in parameters])
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


def draw_recurrence(ax: Axes, found: Recurrence) -> Axes:
    """The recurrence matrix: a dot for each pair of times whose states are near."""
    ax.imshow(found.matrix, origin="lower", cmap="binary", interpolation="nearest")
    ax.set(xlabel="iteration", ylabel="iteration")
    return ax


def draw_correlation_sum(ax: Axes, found: CorrelationDimension) -> Axes:
    """The correlation sum by radius, both logarithmic, the fitted range thick, its slope in the legend."""
    from matplotlib.ticker import LogFormatter

    seen = found.sums > 0
    low, high = found.fit_range
    fitted = seen & (found.radii >= low) & (found.radii <= high)
    ax.plot(found.radii[seen], found.sums[seen], linewidth=1)
    ax.plot(
        found.radii[fitted],
        found.sums[fitted],
        linewidth=3,
        label=f"slope {found.value:.2f}, bound {found.bound:.1f}",
    )
    ax.set(xscale="log", yscale="log", xlabel="radius (L2)", ylabel="share of pairs within it")
    # Radii seldom span two decades: short labels between them as well.
    ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    ax.legend(frameon=False, fontsize="small")
    return ax
