"""Drawings that show in which step, or at which noise level, images are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray

from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.dynamics.trajectories.speciation import Speciation
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@arguments_checked
def draw_commitment(ax: Axes, result: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """Draw the share of samples that a `commitment` decides in each step as bars, and the share decided by then as a line.

    The band is the interval of the line. With `level`, a dashed line marks the speciation.
    """
    check_drawing(ax, result, "commitment", xarray.Dataset, "commitment_step", "decided")
    steps = result.sizes["step"]
    counts = np.bincount(result["commitment_step"].to_numpy(), minlength=steps + 1)
    bars, line = style.CLASSES[4], style.CURVES[0]
    ax.bar(np.arange(steps + 1), counts / counts.sum(), width=1, color=bars, label="in this step")
    ends = result["decided_interval"].to_numpy().T
    style.curve(ax, result["step"], result["decided"], ends, color=line, label="so far")
    ticks.whole(ax.xaxis)
    ax.set(ylim=(0, 1.02), xlabel="denoising step", ylabel="share of samples decided")
    style.legend(ax)
    _mark(ax, None if level is None else level.step)
    return ax


@arguments_checked
def draw_entropy(ax: Axes, result: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """Draw the entropy of the classes of a `commitment` over the noise level, which decreases to the right."""
    check_drawing(ax, result, "commitment", xarray.Dataset, "entropy", "sigma")
    ax.plot(
        result["sigma"],
        result["entropy"],
        ".-",
        color=style.CURVES[0],
        markersize=style.MARKER,
        linewidth=style.LINE,
    )
    ax.set(xlabel="noise level σ", ylabel="entropy of the classes (nats)")
    ticks.logarithmic(ax, "x")
    ax.invert_xaxis()
    _mark(ax, None if level is None else level.sigma)
    return ax


@arguments_checked
def draw_u_turn(ax: Axes, result: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """Draw the probability that a `u_turn` returns the same class, with its interval, over the noise level.

    The noise level decreases to the right.
    """
    check_drawing(ax, result, "u_turn", xarray.Dataset, "probability", "interval")
    _draw_turns(ax, result, "probability", "interval")
    ax.set(ylabel="probability of the same class", ylim=(0, 1.05))
    _mark(ax, None if level is None else level.sigma)
    return ax


@arguments_checked
def draw_turn_distance(
    ax: Axes, result: xarray.Dataset, *, theory: GaussianTheory | None = None, level: Speciation | None = None
) -> Axes:
    """Draw the distance between image and result of a `u_turn` (L2, root mean square) over the noise level.

    A band shows its interval. With `theory`, a dotted line shows the distance for Gaussian data. The noise level decreases
    to the right.

    Raises: UserError if the theory has no U-turns, or other steps.
    """
    check_drawing(ax, result, "u_turn", xarray.Dataset, "turn_distance", "turn_distance_interval")
    _draw_turns(ax, result, "turn_distance", "turn_distance_interval", label="measured")
    if theory is not None:
        _check_turns(theory, result)
        ax.plot(
            theory.sigmas,
            theory.turn_distance,
            ":",
            color=style.INK,
            linewidth=style.LINE,
            label="Gaussian data",
        )
        style.legend(ax)
    ax.set(ylabel="distance from the image (L2, rms)", ylim=(0, 1.05 * ax.dataLim.y1))
    _mark(ax, None if level is None else level.sigma)
    return ax


def _draw_turns(ax: Axes, result: xarray.Dataset, name: str, interval: str, **looks: str) -> None:
    """Draw a variable of a `u_turn` with its interval over the noise level, which decreases to the right."""
    levels = result.sortby("sigma")
    ends = levels[interval].to_numpy().T
    style.curve(
        ax, levels["sigma"].to_numpy(), levels[name].to_numpy(), ends, "o-", color=style.CURVES[0], **looks
    )
    ax.set(xlabel="noise level σ returned to")
    ticks.logarithmic(ax, "x")
    ax.xaxis.set_inverted(True)


def _check_turns(theory: GaussianTheory, result: xarray.Dataset) -> None:
    """Refuse a theory without U-turns, or of other steps."""
    if theory.stochastic or theory.remembers:
        why = "add noise of their own" if theory.stochastic else "depend on earlier ones"
        raise UserError(
            f"theory has no turn distances, because the steps of its scheduler {why}; take DDIM, or leave theory out"
        )
    # Loosely, because the float32 tables of a scheduler have relative errors of 1e-4 at small σ.
    steps, sigma = result["step"].to_numpy(), result["sigma"].to_numpy()
    if steps.max() >= len(theory.sigmas) or not np.allclose(theory.sigmas[steps], sigma, rtol=1e-3):
        raise UserError(
            f"theory has {len(theory.sigmas)} steps, at other noise levels than these U-turns; call gaussian_theory with the "
            "denoiser and the steps of u_turn"
        )


def _mark(ax: Axes, place: float | None) -> None:
    """Draw a dashed line at the speciation, with its name above the axis, where no curve overlaps it."""
    if place is not None:
        style.reference(ax, x=place)
        ax.annotate("speciation", (place, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), ha="center", va="bottom",
                    textcoords="offset points", fontsize=style.small(ax))  # fmt: skip
