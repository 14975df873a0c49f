"""A film of the denoising sequences of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.figures.animation_files import MILLISECONDS, write_animation
from denoscope.figures.animations import captioned
from denoscope.figures.images import STRIP_TITLE, enlarge, evenly, mosaic, square_columns
from denoscope.figures.shades import shaded
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.recording.completeness import finished_rows
from denoscope.recording.recording import Recording

if TYPE_CHECKING:
    import xarray
    from PIL import Image

MOST_SAMPLES, MOST_STATES = 64, 240
"""The first samples, and evenly spread states, that a film shows."""
SIDE, BYTES = 480, 2**19
"""The longer side in pixels to which small images are enlarged, and the bytes of a frame to which large ones are reduced."""
SHORTEST = 3000
"""The shortest film in milliseconds, before its last frame."""
COLORS = 256


@arguments_checked
def save_sequences(recording: Recording, path: str | Path) -> None:
    """Write the sequences x_T … x_0 of a recording as an endless GIF, or MP4: its samples side by side, a frame for each state.

    The first 64 finished samples and at most 240 evenly spread states are shown. An image shows −r … r as black to white, where
    r is 1, or its largest absolute value if that is more. The caption counts the denoising steps.

    >>> ds.figures.save_sequences(ds.open("run.zarr"), "run.mp4")

    Raises: UserError if the recording has no sequences or no finished sample, the file is neither a .gif nor an .mp4, or MP4 is
        not installed (`pip install "denoscope[video]"`).
    """
    if not isinstance(recording, Recording):
        raise UserError(
            f"{spelled('recording')} is {describe(recording)}; allowed: a recording, such as ds.open(path)"
        )
    sequences = recording.sequence
    recording.check("sequence")
    rows = finished_rows(recording)[:MOST_SAMPLES]
    states = evenly(recording.dataset.sizes["state"], MOST_STATES)
    milliseconds = max(MILLISECONDS, SHORTEST // len(states))
    write_animation(_frames(sequences[rows], states), path, milliseconds=milliseconds)


def _frames(sequences: xarray.DataArray, states: Sequence[int]) -> Iterator[Image.Image]:
    """A frame for each of some states of all samples."""
    from PIL import Image

    for k in states:
        images = sequences[:, k].to_numpy()
        pixels = [shaded(image, len(images), most=BYTES)[0] for image in images]
        sheet = mosaic(pixels, square_columns(len(pixels)), gap=1)
        picture = enlarge(sheet, max(1, SIDE // max(sheet.shape[:2])))
        yield captioned(Image.fromarray(picture), f"{STRIP_TITLE}: {k} of {states[-1]}", colors=COLORS)
