"""Measures drawn on a given matplotlib axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from denoscope.config import SystemConfig
from denoscope.dynamics.sensitivity.epsilon_sweep import EpsilonSweep
from denoscope.dynamics.sensitivity.local_expansion import LocalExpansion
from denoscope.dynamics.trajectories.divergence_of import X
from denoscope.dynamics.trajectories.gaussian_theory import GaussianTheory
from denoscope.figures import plots
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

MARKED = 50
"""Up to so many exponents each has a mark."""


def draw_divergence(ax: Axes, found: xarray.Dataset, *, theory: GaussianTheory | None = None) -> Axes:
    """The median relative separation of a `divergence` by step, in x_t and in each layer, on a logarithmic axis.

    The band around x_t spans the middle half of the pairs. With `theory`, a dashed line shows what random perturbations
    of these trajectories would do if the data were Gaussian.

    Raises: UserError if the theory is of another number of steps.
    """
    if theory is not None and len(theory.separation) != found.sizes["state"]:
        raise UserError(
            f"the theory has {len(theory.separation) - 1} steps and the separations {found.sizes['state'] - 1}; give "
            f"gaussian_theory steps={found.sizes['state'] - 1}"
        )
    steps = found["state"].to_numpy()
    low, middle, high = np.nanquantile(found["relative"].to_numpy(), (0.25, 0.5, 0.75), axis=0)
    ax.fill_between(steps, low, high, alpha=0.2, linewidth=0)
    ax.plot(steps, middle, linewidth=2, label=f"{X}_t")
    for name in found.data_vars:
        layer, _, measure = str(name).rpartition(" ")
        if layer and measure == "relative":
            ax.plot(found["step"], np.median(found[name].to_numpy(), axis=0), label=layer)
    if theory is not None:
        begun, lengths = found["separation"].to_numpy()[:, :1], found["separation"] / found["relative"]
        expected = np.median(begun * theory.separation / lengths.to_numpy(), axis=0)
        ax.plot(steps, expected, color="#333333", linestyle="--", linewidth=1, label=f"{X}_t, Gaussian data")
    ax.set(yscale="log", xlabel="denoising step", ylabel="‖h − h_base‖ / ‖h_base‖, median")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_sweep(ax: Axes, found: EpsilonSweep) -> Axes:
    """The growth of an `epsilon_sweep` by epsilon, with the middle half of the pairs; its plateau shaded.

    Hollow are epsilons whose separations lie below the noise floor.
    """
    distances = np.abs(found.spread.T - found.growth)
    for usable, face in ((True, "C0"), (False, "white")):
        chosen = found.usable == usable
        ax.errorbar(
            found.epsilons[chosen], found.growth[chosen], distances[:, chosen], fmt="o", color="C0",
            markerfacecolor=face, markersize=5, linewidth=1, capsize=2,
            label=None if usable or not chosen.any() else "below the noise floor",
        )  # fmt: skip
    if found.linear.any():
        ends = found.epsilons[found.linear][[0, -1]]
        ax.axvspan(*ends, color="C2", alpha=0.15, linewidth=0, label=f"linear, growth {found.value:.2f}")
    ax.set(xscale="log", xlabel="epsilon (L2)", ylabel="growth (ln, whole map), median")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_exponents(
    ax: Axes, spectra: Mapping[str, np.ndarray], *, theory: Mapping[str, GaussianTheory] | None = None
) -> Axes:
    """Exponents by rank: for each name one line a row of [x_T, k]; a dashed line where nothing grows.

    With `theory`, a dotted line in a name's colour shows those of Gaussian data, as many as their covariance has
    eigenvalues above 0.
    """
    from matplotlib.ticker import MaxNLocator

    for number, (name, exponents) in enumerate(spectra.items()):
        rows = np.atleast_2d(exponents)
        form = "o-" if rows.shape[1] <= MARKED else "-"
        ranks = np.arange(1, rows.shape[1] + 1)
        lines = ax.plot(ranks, rows.T, form, color=f"C{number}", markersize=4, linewidth=1)
        lines[0].set_label(name)
        if theory and name in theory:
            known = int((theory[name].eigenvalues > 0).sum())
            expected = theory[name].exponents[: min(known, rows.shape[1])]
            ax.plot(ranks[: len(expected)], expected, ":", color=f"C{number}", label=f"{name}, Gaussian data")
    ax.axhline(0, color="#333333", linewidth=0.8, linestyle="--")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="rank", ylabel="exponent of the whole map (ln)")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_expansion(ax: Axes, found: LocalExpansion) -> Axes:
    """The rates of a `local_expansion` by step, one line for each direction of the frame."""
    for index, rates in enumerate(found.rates.T):
        ax.plot(rates, linewidth=1, label=f"direction {index + 1}")
    ax.axhline(0, color="#333333", linewidth=0.8, linestyle="--")
    ax.set(xlabel="denoising step", ylabel="local expansion (ln, per step)")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_basins(
    ax: Axes, found: xarray.Dataset, *, colors: Sequence[str] = SystemConfig.class_colors
) -> Axes:
    """A map of basins (`basins.map`): each cell in its class's colour, paler where the classifier is less confident.

    Cells without a class, rejected or not finite or not computed yet, are hatched.
    """
    certainty = found["confidence"].to_numpy() if "confidence" in found else None
    labels, u, v = (found[name].to_numpy() for name in ("label", "u", "v"))
    return plots.draw_plane(ax, labels, u, v, colors=colors, certainty=certainty)


def draw_growth(ax: Axes, found: xarray.Dataset) -> Axes:
    """The larger exponent of a `plane_growth` at every point of the plane."""
    growth = found["growth"].isel(direction=0)
    mesh = ax.pcolormesh(found["u"], found["v"], growth.to_numpy(), shading="nearest", cmap="magma")
    ax.figure.colorbar(mesh, ax=ax, label="growth (ln, whole map)")
    ax.set(xlabel="u  (L2 distance along direction 1)", ylabel="v  (L2 distance along direction 2)")
    return ax
