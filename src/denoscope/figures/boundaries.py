"""Drawings of boundaries between basins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@calls_checked
def draw_boundary_dimension(ax: Axes, result: BoundaryDimension) -> Axes:
    """Draw the number of boxes with more than one label over their side, and the fitted line.

    Raises: UserError if the boundary has no dimension.
    """
    check_drawing(ax, result, "boundary_dimension", BoundaryDimension)
    if result.interval is None:
        raise UserError(f"this boundary has no dimension to draw: {result.warnings[0]}")
    fit = result.fit
    ax.plot(fit.sides, fit.counts, "o", markersize=4)
    line = np.exp(fit.intercept) * np.asarray(fit.sides, dtype=float) ** -fit.slope
    low, high = result.interval
    ax.plot(fit.sides, line, linewidth=1, label=f"dimension {result.value:.2f}  [{low:.2f}, {high:.2f}]")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="side of the box (spacings between cells)",
        ylabel="boxes with several labels",
    )
    ax.legend(frameon=False, fontsize="small")
    return ax


@calls_checked
def draw_uncertainty(ax: Axes, result: UncertaintyExponent) -> Axes:
    """Draw the share of points whose neighbour at distance ε has another label, with intervals, and the fitted line.

    Filled points are part of the fit. There is no line if there is no exponent.
    """
    check_drawing(ax, result, "uncertainty_exponent", UncertaintyExponent)
    below, above = np.abs(result.fraction_intervals.T - result.fractions)
    for used, fill in ((True, "full"), (False, "none")):
        at = result.used == used
        ax.errorbar(
            result.epsilons[at], result.fractions[at], (below[at], above[at]), fmt="o", color="C0", markersize=4,
            capsize=2, fillstyle=fill,
        )  # fmt: skip
    if result.interval is not None:
        logs = np.log(result.fractions[result.used]) - result.residuals[result.used]
        label = f"exponent {result.value:.2f}  [{result.interval[0]:.2f}, {result.interval[1]:.2f}]"
        ax.plot(result.epsilons[result.used], np.exp(logs), color="C1", linewidth=1, label=label)
    ax.axhline(result.unrelated, color="#333333", linewidth=0.8, linestyle="--", label="unrelated points")
    ax.set(xscale="log", yscale="log", xlabel="ε (L2)", ylabel="share of uncertain points")
    ax.legend(frameon=False, fontsize="small")
    return ax
