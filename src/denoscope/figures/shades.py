"""States as bytes that a page draws: images as shades or colours, states of layers as maps."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

MOST_MAPS = 16
"""Channels that are shown."""
MOST_BYTES = 4 * 2**20
"""Bytes of the pictures in one answer; larger pictures are reduced to fit."""
COLORS = 3
"""Channels that are shown as red, green and blue."""


@np.errstate(all="ignore")
def images_of(images: Iterable[np.ndarray], count: int, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """Images, each [C, H, W], as bytes, the range −r … r of each as 0 … 255.

    r is 1, or the largest absolute value of the image if that is more. Three channels are colours, other numbers of
    channels stand side by side in a block that is nearly square. `rgb` says whether a pixel has three bytes. Images that
    exceed `most` bytes are replaced by means over blocks of `scale` × `scale` pixels.

    Args:
        images: `count` of them; missing axes have length 1, and axes before the last two count as C.
    """
    ranges, shown, scale = [], [], 1
    for image in images:
        pixels, largest, scale = shaded(image, count, most=most)
        ranges.append(float(f"{largest:.4g}"))
        shown.append(pixels)
    return {
        "count": count,
        "height": shown[0].shape[0],
        "width": shown[0].shape[1],
        "rgb": shown[0].ndim == 3,
        "scale": scale,
        "ranges": ranges,
        "data": _text(np.stack(shown)),
    }


@np.errstate(all="ignore")
def shaded(image: np.ndarray, count: int, *, most: int = MOST_BYTES) -> tuple[np.ndarray, float, int]:
    """The pixels [H, W] or [H, W, 3] of one of `count` images, its r, and its `scale`, as `images_of` describes them."""
    planes = _planes(image)
    scale = _scale(planes[:MOST_MAPS].shape, count, most)
    sizes = np.abs(planes[np.isfinite(planes)])
    largest = max(1.0, float(sizes.max(initial=0.0)))
    shades = _bytes((_means(planes[:MOST_MAPS], scale) / largest + 1) * 127.5)
    pixels = np.moveaxis(shades, 0, 2) if len(planes) == COLORS else _side_by_side(shades)
    return pixels, largest, scale


@np.errstate(all="ignore")
def maps_of(states: Iterable[np.ndarray], count: int) -> dict[str, Any]:
    """The states [..., H, W] of a layer in `count` steps: up to 16 channels of maps, or one row of numbers.

    Complex numbers are shown by their absolute value. Maps that are too large are replaced by means over blocks.
    """
    shown, norms, channels = [], [], 0
    for state in states:
        values = np.abs(state) if np.iscomplexobj(state) else state
        norms.append(float(f"{np.linalg.norm(values.astype(np.float64)):.4g}"))
        planes = _planes(values) if values.ndim >= 3 else values.astype(np.float64).reshape(1, 1, -1)
        channels = len(planes)
        planes = planes[:MOST_MAPS]
        shown.append(_means(planes, _scale(planes.shape, count, MOST_BYTES)))
    stack = np.stack(shown)
    finite = stack[np.isfinite(stack)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return {
        "channels": stack.shape[1],
        "of": channels,
        "height": stack.shape[2],
        "width": stack.shape[3],
        "low": float(f"{low:.4g}"),
        "high": float(f"{high:.4g}"),
        "norms": [None if value != value or math.isinf(value) else value for value in norms],
        "data": _text(_bytes((stack - low) * (255 / ((high - low) or 1)))),
    }


def _planes(image: np.ndarray) -> np.ndarray:
    """An image or state as [C, H, W] in double precision."""
    image = np.asarray(image, np.float64)
    shape = (1,) * (3 - image.ndim) + image.shape
    return image.reshape(-1, *shape[-2:])


def _scale(shape: tuple[int, ...], count: int, most: int) -> int:
    """The side of blocks whose means fit: the smallest with which `count` images of a shape [C, H, W] take `most` bytes."""
    channels, height, width = shape
    scale = 1
    while count * channels * -(-height // scale) * -(-width // scale) > most:
        scale += 1
    return scale


def _means(planes: np.ndarray, scale: int) -> np.ndarray:
    """The means over blocks of an image [C, H, W]; blocks at its end may be smaller."""
    if scale == 1:
        return planes
    for axis in (1, 2):
        starts = np.arange(0, planes.shape[axis], scale)
        sizes = np.diff(np.append(starts, planes.shape[axis]))
        planes = np.add.reduceat(planes, starts, axis) / np.expand_dims(sizes, (0, 3 - axis))
    return planes


def _side_by_side(channels: np.ndarray) -> np.ndarray:
    """Channels [C, H, W] as one image, which is nearly square."""
    count, height, width = channels.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    full = np.zeros((rows * columns, height, width), channels.dtype)
    full[:count] = channels
    return (
        full.reshape(rows, columns, height, width)
        .transpose(0, 2, 1, 3)
        .reshape(rows * height, columns * width)
    )


def _bytes(shades: np.ndarray) -> np.ndarray:
    return np.nan_to_num(shades).round().clip(0, 255).astype(np.uint8)


def _text(data: np.ndarray) -> str:
    return base64.b64encode(data.tobytes()).decode()
