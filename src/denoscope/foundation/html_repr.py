"""Building blocks of `_repr_html_`: a table, an inline thumbnail and an inline sparkline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

LARGEST_SIDE = 128
"""Pixels along the longer side of a thumbnail; larger arrays are subsampled."""
DISPLAY_SIDE = 96
"""CSS pixels along the longer side of a thumbnail as shown."""
SPARKLINE_SIZE = (160, 32)
"""Width and height of a sparkline in CSS pixels."""
SPARKLINE_POINTS = 400
"""The number of points of a sparkline; longer series are subsampled."""


def table(title: str, rows: Mapping[str, object], *, picture: str = "") -> str:
    """A two-column HTML table with a title and, beside it, a picture.

    Titles, names and values are escaped. A sequence of strings is shown as a comma-separated list.

    Args:
        picture: HTML of `thumbnail` or `sparkline`; it is inserted as it is.
    """
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(str(name))}</th>'
        f'<td style="text-align:left">{html.escape(_text(value))}</td></tr>'
        for name, value in rows.items()
    )
    content = f"<table>{cells}</table>"
    if picture:
        content = f'<div style="display:flex;gap:1em;align-items:center">{content}<div>{picture}</div></div>'
    return f'<div class="denoscope"><strong>{html.escape(title)}</strong>{content}</div>'


def thumbnail(array2d: ArrayLike) -> str:
    """An `<img>` with the array [H, W] as an inline grey PNG, from its smallest value (black) to its largest.

    NaN and infinite values are mid-grey, and so is a constant array.
    """
    from PIL import Image

    values = np.asarray(array2d, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"array2d has shape {list(values.shape)}; allowed: [H, W], neither of them 0")
    stride = -(-max(values.shape) // LARGEST_SIDE)
    values = values[::stride, ::stride]
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * _scaled(values)).astype(np.uint8)).save(buffer, "PNG")
    height, width = values.shape
    zoom = DISPLAY_SIDE / max(height, width)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{data}" width="{max(1, round(width * zoom))}" '
        f'height="{max(1, round(height * zoom))}" style="image-rendering:pixelated">'
    )


def sparkline(values: ArrayLike) -> str:
    """An inline SVG line through a series of values; it is interrupted where a value is not finite."""
    series = np.asarray(values, dtype=np.float64).ravel()
    stride = max(1, -(-len(series) // SPARKLINE_POINTS))
    series = series[::stride]
    width, height = SPARKLINE_SIZE
    across = np.linspace(1, width - 1, max(len(series), 2))[: len(series)]
    up = height - 1 - (height - 2) * _scaled(series)
    lines = "".join(
        f'<polyline points="{points}"/>' for points in _segments(across, up, np.isfinite(series)) if points
    )
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" fill="none" '
        f'stroke="currentColor" stroke-linecap="round">{lines}</svg>'
    )


def _scaled(values: np.ndarray) -> np.ndarray:
    """The values mapped linearly to 0…1; 0.5 where they are not finite or all equal."""
    finite = np.isfinite(values)
    scaled = np.full(values.shape, 0.5)
    if finite.any():
        # Halved, so that the range of the largest floats does not overflow.
        low, high = values[finite].min() / 2, values[finite].max() / 2
        if high > low:
            scaled[finite] = (values[finite] / 2 - low) / (high - low)
    return scaled


def _segments(across: np.ndarray, up: np.ndarray, finite: np.ndarray) -> list[str]:
    """The SVG points of each run of finite values."""
    starts = np.flatnonzero(np.diff(finite.astype(int))) + 1
    runs = (run for run in np.split(np.arange(len(finite)), starts) if len(run) and finite[run[0]])
    return [" ".join(f"{across[k]:.1f},{up[k]:.1f}" for k in run) for run in runs]


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    return str(value)
