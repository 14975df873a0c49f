"""When images are decided, drawn on a given matplotlib axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.dynamics.trajectories.speciation import Speciation
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def draw_commitment(ax: Axes, found: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """How many samples of a `commitment` are decided in which step, and on a second axis the share decided by then.

    A dashed line stands at the level of speciation, where that is given.
    """
    steps = found.sizes["step"]
    counts = np.bincount(found["commitment_step"].to_numpy(), minlength=steps + 1)
    ax.bar(np.arange(steps + 1), counts, width=1, color="C0", alpha=0.6)
    ax.set(xlabel="denoising step", ylabel="samples decided in it")
    ax.yaxis.label.set_color("C0")
    beside, (low, high) = ax.twinx(), found["decided_interval"].to_numpy().T
    beside.fill_between(found["step"], low, high, color="C1", alpha=0.2, linewidth=0)
    beside.plot(found["step"], found["decided"], color="C1")
    beside.set(ylim=(0, 1.02))
    beside.set_ylabel("share decided by then", color="C1")
    _mark(ax, None if level is None else level.step)
    return ax


def draw_entropy(ax: Axes, found: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """The entropy of the classes of a `commitment`'s estimates by noise level, which falls to the right."""
    ax.plot(found["sigma"], found["entropy"], ".-", markersize=4)
    ax.set(xscale="log", xlabel="noise level σ", ylabel="entropy of the classes (nats)")
    ax.invert_xaxis()
    _mark(ax, None if level is None else level.sigma)
    return ax


def draw_u_turn(ax: Axes, found: xarray.Dataset, *, level: Speciation | None = None) -> Axes:
    """The probability that a `u_turn` ends in the same class, by noise level, which falls to the right, with its interval."""
    sigma, (low, high) = found["sigma"].to_numpy(), found["interval"].to_numpy().T
    order = np.argsort(sigma)
    ax.fill_between(sigma[order], low[order], high[order], alpha=0.2, linewidth=0)
    ax.plot(sigma[order], found["probability"].to_numpy()[order], "o-", markersize=4)
    ax.set(
        xscale="log",
        xlabel="noise level σ gone back to",
        ylabel="probability of the same class",
        ylim=(0, 1.05),
    )
    ax.invert_xaxis()
    _mark(ax, None if level is None else level.sigma)
    return ax


def draw_turn_distance(
    ax: Axes, found: xarray.Dataset, *, theory: GaussianTheory | None = None, level: Speciation | None = None
) -> Axes:
    """How far from where it began a `u_turn` ends, in the root mean square over images and draws, by noise level, which
    falls to the right, with its interval.

    With `theory`, a dotted line shows the distance of Gaussian data.

    Raises: UserError if the theory has no U-turns, or is of other steps.
    """
    sigma, (low, high) = found["sigma"].to_numpy(), found["turn_distance_interval"].to_numpy().T
    order = np.argsort(sigma)
    ax.fill_between(sigma[order], low[order], high[order], alpha=0.2, linewidth=0)
    ax.plot(sigma[order], found["turn_distance"].to_numpy()[order], "o-", markersize=4, label="measured")
    if theory is not None:
        _need_turns(theory, found)
        ax.plot(theory.sigmas, theory.turn_distance, ":", color="#333333", label="Gaussian data")
        ax.legend(frameon=False, fontsize="small")
    ax.set(xscale="log", xlabel="noise level σ gone back to", ylabel="distance from the image (L2, rms)")
    ax.set_ylim(0, 1.05 * ax.dataLim.y1)
    ax.xaxis.set_inverted(True)
    _mark(ax, None if level is None else level.sigma)
    return ax


def _need_turns(theory: GaussianTheory, found: xarray.Dataset) -> None:
    """Refuse a theory that says nothing of these U-turns."""
    if theory.stochastic or theory.remembers:
        why = "add noise of their own" if theory.stochastic else "depend on earlier ones"
        raise UserError(
            f"the theory has no distances of U-turns, for the steps of its scheduler {why}; take DDIM, or leave theory= out"
        )
    # Loosely: at small σ the float32 tables of a scheduler are 1e-4 off.
    steps, sigma = found["step"].to_numpy(), found["sigma"].to_numpy()
    if steps.max() >= len(theory.sigmas) or not np.allclose(theory.sigmas[steps], sigma, rtol=1e-3):
        raise UserError(
            f"the theory is of {len(theory.sigmas)} steps, at other noise levels than these U-turns; give gaussian_theory "
            "the denoiser and the steps of u_turn"
        )


def _mark(ax: Axes, place: float | None) -> None:
    """A dashed line at the level of speciation, named above the axis, where no curve can be."""
    if place is not None:
        ax.axvline(place, color="#333333", linewidth=0.8, linestyle="--")
        ax.annotate("speciation", (place, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), ha="center", va="bottom",
                    textcoords="offset points", fontsize="small")  # fmt: skip
