"""Tiles as bytes: what a page draws, and pictures in colour."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from denoscope.dynamics.boundaries.label_plane import nearest_known
from denoscope.explorer.tile_address import CELLS

if TYPE_CHECKING:
    import xarray

Layer = Literal["class", "confidence", "margin"]
LAYERS: tuple[str, ...] = get_args(Layer)
NO_CLASS = (60, 60, 60)
"""The colour of cells without a class."""
SHADES = ((13, 8, 60), (40, 96, 160), (80, 180, 160), (250, 240, 130))
"""Colours of values from 0 to 1, evenly spaced: lighter for larger ones."""


@dataclass(frozen=True)
class TilePicture:
    """A tile as four planes of bytes [4, n, n], rows along v and columns along u.

    They are: label + 1 (0 for no class), confidence and margin in 255ths, and how the label is known (`status` of a map).
    """

    planes: np.ndarray
    finished: bool

    @classmethod
    def of(cls, data: xarray.Dataset, *, finished: bool) -> TilePicture:
        """The picture of a map of n × n cells; filled cells have the confidence and margin of the nearest computed one."""
        computed = data["computed"].values
        status = data["status"].values if "status" in data else computed
        nearest = nearest_known(computed)
        values = (data[name].values[nearest] for name in ("confidence", "margin"))
        planes = [data["label"].values + 1, *map(_shares, values), status]
        return cls(np.stack([plane.astype(np.uint8) for plane in planes]), finished)

    def enlarged(self) -> TilePicture:
        """The same picture with the cells of a tile."""
        times = CELLS // self.planes.shape[1]
        return TilePicture(self.planes.repeat(times, 1).repeat(times, 2), self.finished)

    def packed(self) -> bytes:
        """The planes, compressed (zlib)."""
        return zlib.compress(self.planes.tobytes(), 6)

    @classmethod
    def unpacked(cls, data: bytes) -> TilePicture:
        """The finished picture of the bytes that `packed` returned."""
        planes = np.frombuffer(zlib.decompress(data), np.uint8)
        return cls(planes.reshape(4, CELLS, CELLS), finished=True)

    def colored(self, layer: Layer, colors: Sequence[str]) -> np.ndarray:
        """The pixels [n, n, 3] of a layer, the largest v in the first row.

        Args:
            colors: of the classes, each `#rrggbb`.
        """
        index = LAYERS.index(layer)
        table = class_table(colors) if index == 0 else shade_table()
        return table[self.planes[index]][::-1]


def class_table(colors: Sequence[str]) -> np.ndarray:
    """The colour [256, 3] of each label + 1."""
    table = np.tile(np.array(NO_CLASS, np.uint8), (256, 1))
    for k, color in enumerate(colors):
        table[k + 1] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return table


def shade_table() -> np.ndarray:
    """The colour [256, 3] of each value in 255ths."""
    at = np.linspace(0, 255, len(SHADES))
    channels = [np.interp(np.arange(256), at, channel) for channel in zip(*SHADES, strict=True)]
    return np.stack(channels, 1).round().astype(np.uint8)


def _shares(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values * 255.0).round().clip(0, 255)
