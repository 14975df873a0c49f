"""Pictures inside of a page: WebP as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from denoscope.figures.images import mosaic

if TYPE_CHECKING:
    from PIL import Image

LOSSLESS_BYTES, LOSSY_BYTES = 2**18, 2**20
"""Pictures that take more bytes without loss are compressed with loss, by the first quality that takes fewer."""
QUALITIES = (80, 50, 20)
SMALL_PIXELS, SHOWN, WIDEST = 64, 56, 928
"""Images of fewer pixels along a side are enlarged without blurring, to about `SHOWN` CSS pixels, while they fit the page."""


@dataclass(frozen=True)
class Picture:
    """A picture as a page shows it, in CSS pixels; `enlarged` says that its pixels are seen as squares.

    `alternative` says what it is where it is not seen, and `caption` what is in it.
    """

    url: str
    width: int
    height: int
    enlarged: bool
    alternative: str
    caption: str


def picture_of(images: Sequence[np.ndarray], columns: int, alternative: str, caption: str) -> Picture:
    """One picture made of images of equal size, row by row."""
    pixels = mosaic(images, columns, gap=1)
    side = max(images[0].shape[:2])
    height, width = pixels.shape[:2]
    # A whole number of times, so that all gaps are equally wide.
    zoom = max(1, min(round(SHOWN / side), WIDEST // width)) if side < SMALL_PIXELS else 1
    return Picture(webp(pixels), width * zoom, height * zoom, side < SMALL_PIXELS, alternative, caption)


def webp(pixels: np.ndarray) -> str:
    """Pixels [H, W] or [H, W, 3] as a data URL."""
    from PIL import Image as images

    picture = images.fromarray(pixels)
    data = _encoded(picture, lossless=True)
    if len(data) > LOSSLESS_BYTES:
        for quality in QUALITIES:
            data = min(data, _encoded(picture, quality=quality), key=len)
            if len(data) <= LOSSY_BYTES:
                break
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _encoded(picture: Image.Image, **options: bool | int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", **options)
    return file.getvalue()
