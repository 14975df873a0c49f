"""Planes of labels as the frames of an animation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

WIDTH, CAPTION, MARGIN = 320, 18, 6
"""The width of an animation, the height of its caption, and the space before it, in pixels."""
LETTERS = (12, 11)
"""The sizes of letters in captions: the first one that fits. Words of smaller ones touch."""


def frame(labels: np.ndarray, rgb: np.ndarray, caption: str, *, part: float = 1.0) -> Image.Image:
    """The central part of a plane of labels [ny, nx], with v upwards, above its caption.

    Args:
        rgb: the colours of the classes; see `palette`.
    """
    from PIL import Image

    cells = colored(labels, rgb)
    ny, nx = labels.shape
    height = max(1, round(WIDTH * ny / nx))
    rows, columns = (
        ((np.arange(pixels) + 0.5) / pixels - 0.5) * part * count + count / 2
        for pixels, count in ((height, ny), (WIDTH, nx))
    )
    pixels = cells[rows.astype(int)[::-1, None], columns.astype(int)]
    return captioned(Image.fromarray(pixels), caption)


def captioned(
    picture: Image.Image, caption: str, *, legend: Image.Image | None = None, colors: int = 32
) -> Image.Image:
    """A frame of up to `colors` colours: a picture above its caption.

    Args:
        legend: a picture of the caption's height, which stands at its end.
    """
    from PIL import Image, ImageDraw, ImageFont

    width, height = picture.size
    room = width - MARGIN - (legend.width if legend is not None else 0)
    fonts = [ImageFont.load_default(size) for size in LETTERS]
    font = next((font for font in fonts if font.getlength(caption) <= room), fonts[-1])
    image = Image.new("RGB", (width, height + CAPTION))
    image.paste(picture)
    place = MARGIN, height + CAPTION / 2
    ImageDraw.Draw(image).text(place, caption, fill=(255, 255, 255), font=font, anchor="lm")
    if legend is not None:
        image.paste(legend, (width - legend.width, height))
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colors)


def colored(labels: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The colour [..., 3] of each label; see `palette`."""
    return rgb[np.clip(labels, -1, len(rgb) - 1)]


def palette(colors: Sequence[str]) -> np.ndarray:
    """RGB [class + 1, 3] of each class; the last one, of −1, is grey."""
    from PIL import ImageColor

    try:
        rows = [ImageColor.getrgb(color)[:3] for color in colors]
    except (ValueError, AttributeError) as error:
        raise UserError(f"colors is {list(colors)!r}; allowed: colors such as '#0e8ef3'") from error
    return np.array([*rows, (140, 140, 140)], np.uint8)
