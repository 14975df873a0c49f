"""Drawings of zooms into a boundary between basins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray

from denoscope.basins.zooming.decades import is_stable
from denoscope.config import SystemConfig
from denoscope.figures import style, ticks
from denoscope.figures.animation_files import write_animation
from denoscope.figures.animations import frame, palette
from denoscope.figures.arguments import check_drawing, check_result
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.validation import parse_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

LOOKS = {
    "smooth": ("o", style.CLASSES[0]),
    "fractal": ("^", style.CLASSES[5]),
    "noise": ("s", style.CLASSES[7]),
    "undecided": ("D", style.QUIET),
}
"""The marker and the colour of each verdict."""
LOWEST = 0.8
"""The lowest dimension that every drawing shows."""
MARGIN = 1.5
"""The factor of length beyond the first and the last level that a drawing shows."""


@arguments_checked
def draw_zoom(ax: Axes, result: xarray.Dataset) -> Axes:
    """Draw the dimension of the boundary of a `zoom` in each decade of lengths, with its interval and verdict.

    Small points are the dimensions of the levels. Lengths are half-widths of levels, and decrease to the right. Levels whose
    labels rounding decides are crosses; no decade counts them. The title says why a zoom without a decade ended.
    """
    check_drawing(
        ax,
        result,
        "basins.zoom",
        xarray.Dataset,
        "decade_dimension",
        "unstable_share",
        "half_width",
        "verdict",
    )
    stable = is_stable(result)
    _draw_levels(ax, result.isel(level=np.flatnonzero(stable)), ".", style.QUIET, "levels")
    if not stable.all():
        _draw_levels(ax, result.isel(level=np.flatnonzero(~stable)), "x", style.INK, "rounding decides")
    if not result.sizes["decade"]:
        ax.set_title(f"no decade: {result.attrs['stopped']}", fontsize=style.small(ax), wrap=True)
    width, value = (
        result["decade_range"].prod("bound").to_numpy() ** 0.5,
        result["decade_dimension"].to_numpy(),
    )
    interval = result["decade_dimension_interval"].to_numpy()
    verdicts = result["verdict"].to_numpy()
    for verdict in dict.fromkeys(verdicts.tolist()):
        at = (verdicts == verdict) & np.isfinite(value)
        mark, color = LOOKS[verdict]
        style.points(
            ax,
            width[at],
            value[at],
            interval[at],
            mark,
            color=color,
            markersize=1.5 * style.MARKER,
            label=verdict,
        )
    style.reference(ax, y=1)
    widest, narrowest = (float(result["half_width"][end]) for end in (0, -1))
    lowest = min([LOWEST, *interval[np.isfinite(interval)]])
    ax.set(xlabel="half-width (L2)", ylabel="dimension of the boundary", ylim=(lowest - 0.02, 2.05))
    ticks.logarithmic(ax, "x")
    ax.set_xlim(widest * MARGIN, narrowest / MARGIN)
    style.legend(ax)
    return ax


def _draw_levels(ax: Axes, levels: xarray.Dataset, mark: str, color: str, label: str) -> None:
    """Draw the dimension of some levels over their half-width."""
    ax.plot(
        levels["half_width"], levels["dimension"], mark, color=color, markersize=style.MARKER, label=label
    )


@arguments_checked
def save_zoom(
    result: xarray.Dataset,
    path: str | Path,
    *,
    colors: Sequence[str] = SystemConfig.class_colors,
    frames_per_level: int = 6,
) -> None:
    """Write the levels of a `zoom` as an animation in which the view narrows continuously: an endless GIF, or MP4.

    Each frame shows the central part of one level, in the colours of the classes; classes beyond the colours, and −1, are
    grey. The caption gives the half-width of the view (L2).

    Args:
        frames_per_level: frames from one level to the next.

    Raises: UserError if the file is neither a .gif nor an .mp4, MP4 is not installed (`pip install "denoscope[video]"`), or
        `frames_per_level` is not positive.
    """
    check_result(result, "basins.zoom", xarray.Dataset, "label", "half_width")
    count = parse_integer(frames_per_level, "frames_per_level", minimum=1)
    write_animation(_frames(result, palette(colors), count), path)


def _frames(result: xarray.Dataset, rgb: np.ndarray, count: int) -> Iterator[Image.Image]:
    """The frames of all levels, each narrower than the one before."""
    half_width = result["half_width"].to_numpy()
    factor = half_width[0] / half_width[1] if len(half_width) > 1 else 1.0
    for labels, width in zip(result["label"].to_numpy(), half_width, strict=True):
        last = width == half_width[-1]
        for step in range(1 if last else count):
            part = factor ** (-step / count)
            yield frame(labels, rgb, f"half-width {width * part:.2e}", part=part)
