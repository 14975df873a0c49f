"""The layers of a view, and the colours in which a page draws their bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from denoscope.explorer.atlas import GROWTH
from denoscope.explorer.growth_tile import LOWEST, PER_DECADE
from denoscope.figures.animations import palette

CLASS, CONFIDENCE, MARGIN = "class", "confidence", "margin"
LAYERS = (CLASS, CONFIDENCE, MARGIN, GROWTH)
NO_CLASS = (60, 60, 60)
SHADES = np.array([(13, 8, 60), (40, 96, 160), (80, 180, 160), (250, 240, 130)])
"""From the smallest value to the largest, at equal distances."""
DECADES = (-1, 3)
"""The growths at both ends of the shades, as powers of ten."""
ENDS = {CONFIDENCE: ("0", "1"), MARGIN: ("0", "1"), GROWTH: ("0.1", "1000")}
"""The values at both ends of the shades."""


def colors_of(layer: str, colors: Sequence[str]) -> np.ndarray:
    """RGB [256, 3] of each byte of a layer; of the growth, of the high byte of its code.

    Args:
        colors: those of the classes.
    """
    if layer == CLASS:
        table = np.full((256, 3), NO_CLASS, np.uint8)
        table[1 : len(colors) + 1] = palette(colors)[:-1]
        return table
    if layer != GROWTH:
        return shades(np.arange(256) / 255)
    low, high = DECADES
    decades = (256 * np.arange(256) + 128) / PER_DECADE + LOWEST
    table = shades(((decades - low) / (high - low)).clip(0, 1))
    table[0] = NO_CLASS
    return table


def shades(shares: np.ndarray) -> np.ndarray:
    """RGB [n, 3] of numbers from 0 to 1."""
    at = shares * (len(SHADES) - 1)
    k = at.astype(int).clip(max=len(SHADES) - 2)
    values = SHADES[k] + (at - k)[:, None] * (SHADES[k + 1] - SHADES[k])
    return np.floor(values + 0.5).astype(np.uint8)
