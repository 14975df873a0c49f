"""An animation of a map of basins that becomes finer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray

from denoscope.config import SystemConfig
from denoscope.figures.animation_files import write_animation
from denoscope.figures.animations import frame, palette
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe

MILLISECONDS = 400
"""How long each stage is shown."""


class RefinementFrames:
    """The stages of a map of basins, for `save_refinement`; pass it to `basins.map` as `callback`.

    It keeps the labels of each stage alone, one or two bytes a cell.

    >>> stages = ds.figures.RefinementFrames()
    >>> basins = ds.basins.map(denoiser, plane, callback=stages)
    >>> ds.figures.save_refinement(stages, "basins.gif")
    """

    def __init__(self) -> None:
        self.stages: list[tuple[np.ndarray, int]] = []
        """The labels [ny, nx] of each stage, and the number of its computed cells."""

    def __call__(self, basins: xarray.Dataset) -> None:
        labels = basins["label"].to_numpy().astype(np.int16)
        self.stages.append((labels, int(basins["computed"].sum())))

    def __repr__(self) -> str:
        return f"<RefinementFrames: {len(self.stages)} stages>"


@arguments_checked
def save_refinement(
    stages: RefinementFrames, path: str | Path, *, colors: Sequence[str] = SystemConfig.class_colors
) -> None:
    """Write a map that becomes finer as an endless GIF, or MP4: each stage in the colours of the classes, −1 in grey.

    The caption says how many cells are computed; the others have the colour of the nearest one.

    Raises: UserError if there are no stages, the file is neither a .gif nor an .mp4, or MP4 is not installed.
    """
    if not isinstance(stages, RefinementFrames) or not stages.stages:
        raise UserError(
            f"{spelled('stages')} is {describe(stages)}; allowed: RefinementFrames that basins.map was given as callback"
        )
    rgb = palette(colors)
    write_animation(
        (
            frame(labels, rgb, f"{computed:,} of {labels.size:,} cells computed")
            for labels, computed in stages.stages
        ),
        path,
        milliseconds=MILLISECONDS,
    )
