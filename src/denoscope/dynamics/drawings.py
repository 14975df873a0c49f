"""Measures drawn on a given matplotlib axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.divergence import X

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def draw_divergence(ax: Axes, found: xarray.Dataset) -> Axes:
    """The median relative separation of a `divergence` by step, in x_t and in each layer, on a logarithmic axis.

    The band around x_t spans the middle half of the pairs.
    """
    steps = found["state"].to_numpy()
    low, middle, high = np.nanquantile(found["relative"].to_numpy(), (0.25, 0.5, 0.75), axis=0)
    ax.fill_between(steps, low, high, alpha=0.2, linewidth=0)
    ax.plot(steps, middle, linewidth=2, label=f"{X}_t")
    for name in found.data_vars:
        layer, _, measure = str(name).rpartition(" ")
        if layer and measure == "relative":
            ax.plot(found["step"], np.median(found[name].to_numpy(), axis=0), label=layer)
    ax.set(yscale="log", xlabel="denoising step", ylabel="‖h − h_base‖ / ‖h_base‖, median")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_exponents(ax: Axes, spectra: Mapping[str, np.ndarray]) -> Axes:
    """Exponents by rank: for each name one line a row of [x_T, k]; a dashed line where nothing grows."""
    from matplotlib.ticker import MaxNLocator

    for number, (name, exponents) in enumerate(spectra.items()):
        rows = np.atleast_2d(exponents)
        lines = ax.plot(
            np.arange(1, rows.shape[1] + 1), rows.T, "o-", color=f"C{number}", markersize=4, linewidth=1
        )
        lines[0].set_label(name)
    ax.axhline(0, color="#333333", linewidth=0.8, linestyle="--")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="rank", ylabel="exponent of the whole map (ln)")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_growth(ax: Axes, found: xarray.Dataset) -> Axes:
    """The larger exponent of a `plane_growth` at every point of the plane."""
    growth = found["growth"].isel(direction=0)
    mesh = ax.pcolormesh(found["u"], found["v"], growth.to_numpy(), shading="nearest", cmap="magma")
    ax.figure.colorbar(mesh, ax=ax, label="growth (ln, whole map)")
    ax.set(xlabel="u  (L2 distance along direction 1)", ylabel="v  (L2 distance along direction 2)")
    return ax


def draw_u_turn(ax: Axes, found: xarray.Dataset) -> Axes:
    """The probability that a `u_turn` ends in the same class, by level, with its interval."""
    level, low, high = found["level"].to_numpy(), *found["interval"].to_numpy().T
    order = np.argsort(level)
    ax.fill_between(level[order], low[order], high[order], alpha=0.2, linewidth=0)
    ax.plot(level[order], found["probability"].to_numpy()[order], "o-", markersize=4)
    ax.set(
        xlabel="level (share of the steps gone back)", ylabel="probability of the same class", ylim=(0, 1.05)
    )
    return ax
