"""Images in a grid, and the states of a sequence in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.figures import images as pictures
from denoscope.figures import style
from denoscope.figures.images import ImageLike
from denoscope.figures.plots import check_axis
from denoscope.foundation.arguments import arguments_checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 1


@arguments_checked
def draw_contact_sheet(
    ax: Axes, images: ImageLike, *, columns: int | None = None, title: str | None = None
) -> Axes:
    """Draw images [n, C, H, W] row by row; by default the sheet is about square."""
    check_axis(ax)
    pixels = pictures.to_uint8(pictures.as_stack(images, "images", "n"))
    columns = pictures.square_columns(len(pixels)) if columns is None else columns
    return _show(ax, pictures.mosaic(pixels, columns, gap=GAP), title)


@arguments_checked
def draw_strip(ax: Axes, sequence: ImageLike, *, count: int = 10, title: str | None = None) -> Axes:
    """Draw `count` evenly spread states of a sequence [state, C, H, W], x_T on the left, labelled by finished steps."""
    check_axis(ax)
    states = pictures.as_stack(sequence, "sequence", "state")
    chosen = pictures.evenly(len(states), count)
    pixels = pictures.to_uint8(states[chosen])
    _show(ax, pictures.mosaic(pixels, len(chosen), gap=GAP), title)
    pitch = pixels.shape[2] + GAP
    names = [str(k) for k in chosen]
    names[0], names[-1] = "$x_T$", f"$x_0$ ({chosen[-1]})"
    ax.set_xticks(pitch * np.arange(len(chosen)) + GAP + (pixels.shape[2] - 1) / 2, names)
    ax.tick_params(axis="x", length=0, labelsize=style.small(ax), labelcolor=style.INK)
    ax.set_xlabel(pictures.STRIP_TITLE, fontsize=style.small(ax), color=style.INK)
    return ax


def _show(ax: Axes, sheet: np.ndarray, title: str | None) -> Axes:
    """Show pixels without coordinates and sides."""
    ax.imshow(pictures.as_rgb(sheet), interpolation="antialiased")
    style.frame(ax, title)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
