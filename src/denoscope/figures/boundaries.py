"""Boundaries between basins drawn on a given matplotlib axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_boundary_dimension(ax: Axes, found: BoundaryDimension) -> Axes:
    """Draw the number of boxes with more than one label over their side, and the fitted line."""
    fit = found.fit
    ax.plot(fit.sides, fit.counts, "o", markersize=4)
    line = np.exp(fit.intercept) * np.asarray(fit.sides, dtype=float) ** -fit.slope
    low, high = found.interval or (math.nan, math.nan)
    ax.plot(fit.sides, line, linewidth=1, label=f"dimension {found.value:.2f}  [{low:.2f}, {high:.2f}]")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="side of the box (spacings between cells)",
        ylabel="boxes with several labels",
    )
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_uncertainty(ax: Axes, found: UncertaintyExponent) -> Axes:
    """The share of points whose neighbour at distance ε has another label, with intervals; fitted ones are filled,
    and there is a line where there is an exponent."""
    below, above = np.abs(found.fraction_intervals.T - found.fractions)
    for used, fill in ((True, "full"), (False, "none")):
        at = found.used == used
        ax.errorbar(
            found.epsilons[at], found.fractions[at], (below[at], above[at]), fmt="o", color="C0", markersize=4,
            capsize=2, fillstyle=fill,
        )  # fmt: skip
    if found.interval is not None:
        logs = np.log(found.fractions[found.used]) - found.residuals[found.used]
        told = f"exponent {found.value:.2f}  [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"
        ax.plot(found.epsilons[found.used], np.exp(logs), color="C1", linewidth=1, label=told)
    ax.axhline(found.unrelated, color="#333333", linewidth=0.8, linestyle="--", label="unrelated points")
    ax.set(xscale="log", yscale="log", xlabel="ε (L2)", ylabel="share of uncertain points")
    ax.legend(frameon=False, fontsize="small")
    return ax
