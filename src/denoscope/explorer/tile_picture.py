"""Tiles as bytes: what a page draws."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.label_plane import nearest_known
from denoscope.explorer.tile_address import CELLS


@dataclass(frozen=True)
class TilePicture:
    """A tile as four planes of bytes [4, n, n], rows along v and columns along u.

    They are: label + 1 (0 for no class), confidence and margin in 255ths, and how the label is known (`status` of a map).
    """

    planes: np.ndarray
    finished: bool

    @classmethod
    def of(cls, data: Mapping[Any, Any], *, finished: bool) -> TilePicture:
        """The picture of the arrays [n, n] of a map; filled cells have the confidence and margin of the nearest computed one.

        A map of a classifier without confidence and margin has zeros there.
        """
        computed = np.asarray(data["computed"])
        status = np.asarray(data["status"]) if "status" in data else computed
        nearest = nearest_known(computed)
        nothing = np.zeros(computed.shape)
        values = (np.asarray(data.get(name, nothing))[nearest] for name in ("confidence", "margin"))
        planes = [np.asarray(data["label"]) + 1, *map(_shares, values), status]
        return cls(np.stack([plane.astype(np.uint8) for plane in planes]), finished)

    def enlarged(self) -> TilePicture:
        """The same picture with the cells of a tile. Only those at the points of this picture keep their status; the others are not known."""
        times = CELLS // self.planes.shape[1]
        planes = self.planes.repeat(times, 1).repeat(times, 2)
        planes[3] = 0
        planes[3, ::times, ::times] = self.planes[3]
        return TilePicture(planes, self.finished)

    def packed(self) -> bytes:
        """The planes, compressed (zlib)."""
        return zlib.compress(self.planes.tobytes(), 6)


def _shares(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values * 255.0).round().clip(0, 255)
