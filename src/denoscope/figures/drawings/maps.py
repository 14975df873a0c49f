"""Drawings of maps over a plane of noises: basins, and the growth of differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray

from denoscope.config import Geometry, SystemConfig
from denoscope.dynamics.boundaries.label_plane import nearest_known
from denoscope.figures import style
from denoscope.figures.arguments import check_drawing
from denoscope.figures.drawings.planes import draw_plane, label_coordinates
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.spelling import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@calls_checked
def draw_basins(
    ax: Axes, result: xarray.Dataset, *, colors: Sequence[str] = SystemConfig.class_colors
) -> Axes:
    """Draw a map of basins (`basins.map`): each cell in the colour of its class, paler for lower confidence.

    The title names the model, the steps and the geometry of the plane, and the axes what u and v are on it. Cells that an
    adaptive map filled are as pale as the nearest computed cell. Cells without a class (rejected, not finite, or not
    computed yet) are hatched.
    """
    check_drawing(ax, result, "basins.map", xarray.Dataset, "label", "u", "v")
    certainty = result["confidence"].to_numpy() if "confidence" in result else None
    if certainty is not None and "status" in result:
        certainty = certainty[nearest_known(result["status"].to_numpy() <= 1)]
    labels, u, v = (result[name].to_numpy() for name in ("label", "u", "v"))
    return draw_plane(
        ax,
        labels,
        u,
        v,
        colors=colors,
        certainty=certainty,
        title=_origin(result),
        geometry=_geometry(result),
    )


def _geometry(result: xarray.Dataset) -> Geometry:
    """The geometry of the plane that a result was computed on."""
    return result.attrs.get("plane", {}).get("geometry", "flat")


def _origin(result: xarray.Dataset) -> str:
    """What a result was computed from, in a line; empty if it does not say so."""
    if "model" not in result.attrs:
        return ""
    steps = result.attrs.get("fingerprint", {}).get("num_steps")
    length = "" if steps is None else f"{counted(steps, 'step')}, "
    return f"{result.attrs['model']}, {length}{_geometry(result)} plane"


@calls_checked
def draw_growth(ax: Axes, result: xarray.Dataset) -> Axes:
    """Draw the larger exponent of a `plane_growth` at every point of the plane."""
    check_drawing(ax, result, "plane_growth", xarray.Dataset, "growth")
    growth = result["growth"].isel(direction=0)
    mesh = ax.pcolormesh(result["u"], result["v"], growth.to_numpy(), shading="nearest", cmap="magma")
    style.colorbar(ax, mesh, "growth (ln, whole map)")
    label_coordinates(ax, "flat")  # plane_growth takes no other
    return ax
