"""Drawings of recordings: their images, one sequence, and the path of a layer's states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denoscope.figures import plots, style
from denoscope.figures.drawings.hidden_states import draw_components
from denoscope.figures.drawings.images import draw_contact_sheet, draw_strip
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe
from denoscope.recording.completeness import finished_rows
from denoscope.recording.recording import Recording

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_PATHS = 64, 20
"""How many images and paths a drawing shows, the first ones of the recording."""
FRAME = 30
"""The width of a state of a sequence in points."""


@calls_checked
def draw_images(ax: Axes, recording: Recording) -> Axes:
    """Draw the images x_0 of a recording's first 64 finished samples.

    Raises: UserError if no sample is finished, or images have other than 1 or 3 channels.
    """
    rows = _finished(ax, recording)
    shown = len(rows[:MOST_IMAGES])
    title = f"x_0 of {shown}" if shown == len(rows) else f"x_0 of the first {shown} of {len(rows)}"
    if left := len(recording.samples) - len(rows):
        title += f", {left} more unfinished"
    return draw_contact_sheet(ax, recording.final[rows[:MOST_IMAGES]].to_numpy(), title=title)


@calls_checked
def draw_sequence(ax: Axes, recording: Recording) -> Axes:
    """Draw some states of the sequence of a recording's first finished sample, as many as the axis has room for.

    Raises: UserError if the recording has no sequences, or no sample is finished.
    """
    row = _finished(ax, recording)[0]
    recording.check("sequence")
    width, _ = style.size_in_points(ax)
    name = recording.samples[row]
    return draw_strip(ax, recording.sequence[row].to_numpy(), count=max(4, round(width / FRAME)), title=name)


@calls_checked
def draw_layer(ax: Axes, recording: Recording, layer: str | None = None) -> Axes:
    """Draw the paths of a layer's states of the first 20 finished samples in the plane of their principal components.

    Args:
        layer: the first one that is recorded unless given.

    Raises: UserError if the recording has no such layer, or no sample is finished.
    """
    rows, states = _finished(ax, recording)[:MOST_PATHS], recording.states
    if not states or not (layer is None or (isinstance(layer, str) and layer in states)):
        raise UserError(
            f"layer is {describe(layer)}; allowed: {', '.join(states) or 'none, since no layer is recorded'}"
        )
    chosen = layer or next(iter(states))
    recording.check(chosen)
    draw_components(ax, states[chosen][rows].to_numpy().astype("float64"))
    style.title(ax, f"{chosen} (dots: last step)")
    return ax


def _finished(ax: Axes, recording: Recording) -> np.ndarray:
    """The rows of the finished samples of what should be a recording."""
    plots.check_axis(ax)
    if not isinstance(recording, Recording):
        raise UserError(f"recording is {describe(recording)}; allowed: a recording, such as ds.open(path)")
    return finished_rows(recording)
