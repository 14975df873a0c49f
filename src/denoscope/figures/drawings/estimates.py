"""Drawings of single numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from denoscope.dynamics.result import Estimate
from denoscope.figures import style
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@calls_checked
def draw_estimate(ax: Axes, result: Estimate) -> Axes:
    """Draw a number, and its interval if it has one, as a point on a line.

    Raises: UserError if the number is NaN.
    """
    check_drawing(ax, result, "a measure of one number", Estimate)
    from matplotlib.ticker import MaxNLocator

    if not math.isfinite(result.value):
        reason = result.warnings[0] if result.warnings else "its value is NaN"
        raise UserError(f"this {type(result).__name__} has no number to draw: {reason}")
    low, high = result.interval or (result.value, result.value)
    ax.errorbar([result.value], [0], xerr=[[result.value - low], [high - result.value]], fmt="o", color=style.CURVES[0],
                markersize=style.MARKER, linewidth=style.LINE, capsize=3)  # fmt: skip
    ax.set(yticks=[], ylim=(-1, 1), xlabel=type(result).__name__)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    percent = f", {100 * result.confidence:g} % interval" if result.interval else ""
    style.title(ax, f"{result.value:.4g}{percent}")
    return ax
