"""Drawings of patching."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray

from denoscope.figures import images as pictures
from denoscope.figures import style, ticks
from denoscope.figures.arguments import check_drawing
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 12


@calls_checked
def draw_patch(ax: Axes, result: xarray.Dataset) -> Axes:
    """Draw how far x_0 moved towards that of B when a layer's state of a step came from B (`ds.patch`).

    Each cell is the mean over samples: 0 for no change, 1 for the image of B.

    Raises: UserError if no cell is finished.
    """
    check_drawing(ax, result, "patch", xarray.Dataset, "moved", "layer", "step")
    moved = result["moved"].transpose("layer", "step", "sample").to_numpy()
    known = np.isfinite(moved)
    if not known.any():
        raise UserError("result has no finished cell; allowed: a result of patch with at least one")
    mean = np.where(known, moved, 0).sum(2) / np.maximum(known.sum(2), 1)
    mean[~known.any(2)] = np.nan
    image = ax.imshow(mean, cmap="viridis", vmin=min(0.0, np.nanmin(mean)), vmax=max(1.0, np.nanmax(mean)), aspect="auto",
                      interpolation="nearest")  # fmt: skip
    style.colorbar(ax, image, "moved towards B, mean")
    steps = result["step"].to_numpy()
    shown = pictures.evenly(len(steps), MOST_TICKS)
    ax.set_xticks(shown, [str(steps[k]) for k in shown])
    ax.set_yticks(
        range(mean.shape[0]),
        [ticks.shortened(str(layer)) for layer in result["layer"].to_numpy()],
        fontsize=style.small(ax),
    )
    ax.set_xlabel("denoising step")
    return ax
