"""Drawings of how differences grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray

from denoscope.dynamics.sensitivity.epsilon_sweep import EpsilonSweep
from denoscope.dynamics.sensitivity.local_expansion import LocalExpansion
from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.dynamics.trajectories.divergence_of import X
from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing, check_values
from denoscope.foundation.arguments import arguments_checked, calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKED = 50
"""Number of exponents up to which each has a marker."""


@arguments_checked
def draw_divergence(ax: Axes, result: xarray.Dataset, *, theory: GaussianTheory | None = None) -> Axes:
    """Draw the median relative separation of a `divergence` over the steps, in x_t and in each layer, logarithmically.

    The band around x_t spans the middle half of the pairs. With `theory`, a dashed line shows the separation of random
    perturbations for Gaussian data.

    Raises: UserError if the theory has another number of steps.
    """
    check_drawing(ax, result, "divergence", xarray.Dataset, "relative")
    if theory is not None and len(theory.separation) != result.sizes["state"]:
        raise UserError(
            f"theory has {len(theory.separation) - 1} steps, and the divergence {result.sizes['state'] - 1}; call "
            f"gaussian_theory with steps={result.sizes['state'] - 1}"
        )
    steps = result["state"].to_numpy()
    low, middle, high = np.nanquantile(result["relative"].to_numpy(), (0.25, 0.5, 0.75), axis=0)
    style.curve(ax, steps, middle, (low, high), linewidth=1.5 * style.LINE, label=f"{X}_t")
    for name in result.data_vars:
        layer, _, measure = str(name).rpartition(" ")
        if layer and measure == "relative":
            ax.plot(
                result["step"], np.median(result[name].to_numpy(), axis=0), linewidth=style.LINE, label=layer
            )
    if theory is not None:
        initial, norms = result["separation"].to_numpy()[:, :1], result["separation"] / result["relative"]
        expected = np.median(initial * theory.separation / norms.to_numpy(), axis=0)
        ax.plot(
            steps,
            expected,
            color=style.INK,
            linestyle="--",
            linewidth=style.THIN,
            label=f"{X}_t, Gaussian data",
        )
    ticks.whole(ax.xaxis)
    ax.set(xlabel="denoising step", ylabel="‖h − h_base‖ / ‖h_base‖, median")
    ticks.logarithmic(ax, "y")
    style.legend(ax)
    return ax


@calls_checked
def draw_sweep(ax: Axes, result: EpsilonSweep) -> Axes:
    """Draw the growth of an `epsilon_sweep` over epsilon, with the middle half of the pairs, and its plateau shaded.

    Hollow points have separations below the noise floor.
    """
    check_drawing(ax, result, "epsilon_sweep", EpsilonSweep)
    for usable, face in ((True, style.CURVES[0]), (False, "white")):
        chosen = result.usable == usable
        label = None if usable or not chosen.any() else "below the noise floor"
        at = result.epsilons[chosen], result.growth[chosen], result.spread[chosen]
        style.points(ax, *at, color=style.CURVES[0], markerfacecolor=face, label=label)
    if result.linear.any():
        ends = result.epsilons[result.linear][[0, -1]]
        ax.axvspan(
            *ends, color=style.CURVES[2], alpha=0.15, linewidth=0, label=f"linear, growth {result.value:.2f}"
        )
    ax.set(xlabel="ε (L2)", ylabel="growth (ln, whole map), median")
    ticks.logarithmic(ax, "x")
    style.legend(ax)
    return ax


@calls_checked
def draw_exponents(
    ax: Axes, spectra: Mapping[str, np.ndarray], *, theory: Mapping[str, GaussianTheory] | None = None
) -> Axes:
    """Draw exponents [k] or [x_T, k] over their rank, one line for each x_T and a colour for each name.

    A dashed line marks 0. With `theory`, a dotted line in the colour of a name shows the exponents of Gaussian data, as
    many as their covariance has positive eigenvalues.
    """
    check_drawing(ax, spectra, "spectrum for each name, {name: exponents}", Mapping)
    check_values({} if theory is None else theory, "theory", GaussianTheory, "gaussian_theory")
    for number, (name, exponents) in enumerate(spectra.items()):
        rows = np.atleast_2d(parse_array(exponents, f"spectra[{name!r}]"))
        if rows.dtype.kind not in "biuf" or rows.ndim > 2:
            raise UserError(f"spectra[{name!r}] is {describe(exponents)}; allowed: exponents [k] or [n, k]")
        color, mark = style.CURVES[number % len(style.CURVES)], style.MARKERS[number % len(style.MARKERS)]
        ranks = np.arange(1, rows.shape[1] + 1)
        lines = ax.plot(ranks, rows.T, "-", marker=mark if rows.shape[1] <= MARKED else "None", color=color,
                        markersize=style.MARKER, linewidth=style.LINE)  # fmt: skip
        lines[0].set_label(name)
        if theory and name in theory:
            known = int((theory[name].eigenvalues > 0).sum())
            expected = theory[name].exponents[: min(known, rows.shape[1])]
            ax.plot(
                ranks[: len(expected)],
                expected,
                ":",
                color=color,
                linewidth=style.LINE,
                label=f"{name}, Gaussian data",
            )
    style.reference(ax, y=0)
    ticks.whole(ax.xaxis)
    ax.set(xlabel="rank", ylabel="exponent of the whole map (ln)")
    style.legend(ax)
    return ax


@calls_checked
def draw_expansion(ax: Axes, result: LocalExpansion) -> Axes:
    """Draw the rates of a `local_expansion` over the steps, one line for each direction of the frame."""
    check_drawing(ax, result, "local_expansion", LocalExpansion)
    for index, rates in enumerate(result.rates.T):
        ax.plot(rates, linewidth=style.LINE, label=f"direction {index + 1}")
    style.reference(ax, y=0)
    ticks.whole(ax.xaxis)
    ax.set(xlabel="denoising step", ylabel="local expansion (ln, per step)")
    style.legend(ax)
    return ax
