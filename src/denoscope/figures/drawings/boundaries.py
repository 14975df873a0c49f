"""Drawings of boundaries between basins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension
from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent
from denoscope.figures import style, ticks
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
    ax.plot(fit.sides, fit.counts, "o", color=style.CURVES[0], markersize=style.MARKER)
    line = np.exp(fit.intercept) * np.asarray(fit.sides, dtype=float) ** -fit.slope
    low, high = result.interval
    label = f"dimension {result.value:.2f}\n[{low:.2f}, {high:.2f}]"
    ax.plot(fit.sides, line, color=style.CURVES[1], linestyle="-", linewidth=style.LINE, label=label)
    ax.set(xlabel="side of the box (spacings)", ylabel="boxes with several labels")
    ticks.logarithmic(ax, "x", "y")
    style.legend(ax)
    return ax


@calls_checked
def draw_uncertainty(ax: Axes, result: UncertaintyExponent) -> Axes:
    """Draw the share of points whose neighbour at distance ε has another label, with intervals, and the fitted line.

    Filled points are part of the fit. There is no line if there is no exponent.
    """
    check_drawing(ax, result, "uncertainty_exponent", UncertaintyExponent)
    for used, fill in ((True, "full"), (False, "none")):
        at = result.used == used
        ends = result.fraction_intervals[at]
        style.points(
            ax, result.epsilons[at], result.fractions[at], ends, color=style.CURVES[0], fillstyle=fill
        )
    if result.interval is not None:
        # No line where no point is uncertain, whose logarithm does not exist.
        fitted = result.used & (result.fractions > 0)
        logs = np.log(result.fractions[fitted]) - result.residuals[fitted]
        label = f"exponent {result.value:.2f}\n[{result.interval[0]:.2f}, {result.interval[1]:.2f}]"
        ax.plot(
            result.epsilons[fitted],
            np.exp(logs),
            color=style.CURVES[1],
            linestyle="-",
            linewidth=style.LINE,
            label=label,
        )
    style.reference(ax, y=result.unrelated, label="unrelated points")
    ax.set(xlabel="ε (L2)", ylabel="share of uncertain points")
    ticks.logarithmic(ax, "x", "y")
    style.legend(ax)
    return ax
