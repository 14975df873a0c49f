"""The plane of a scene, and its parts as noises in the precision that each level needs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from denoscope.explorer.coordinates import middle_of
from denoscope.explorer.plane_origin import PlaneOrigin
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.noise import planes
from denoscope.noise.noise_set import Shape
from denoscope.noise.plane_noise import PlaneNoise
from denoscope.noise.planes import LARGEST_LEVEL, SHARE
from denoscope.noise.relative_frame import RelativeFrame

GUARD = 16
"""A lattice is computed in float32 if its spacing is at least this many times the resolution of float32."""


@dataclass(frozen=True, eq=False)
class ExploredPlane:
    """The square plane of a scene for states of one shape."""

    whole: PlaneNoise
    """In float64, with the cells of tile 0/0/0."""
    length: str
    """The side of the plane (L2), as a decimal number."""
    coarser: float = 1.0
    """How many times farther apart noises must be to be told apart than their own precision says."""

    @classmethod
    def of(
        cls, scene: Scene, shape: Shape, origin: PlaneOrigin | None = None, coarser: float = 1.0
    ) -> ExploredPlane:
        """The plane of a scene, by default that of its seeds.

        Raises: UserError if its length does not fit the model.
        """
        given = scene.length or (origin.side if origin else "")
        lengths = (float(given),) * 2 if given else None
        one = (1, 1)  # how far cells may be apart depends on the level
        if origin is None:
            whole = planes.plane(
                one,
                shape,
                lengths=lengths,
                base_seed=scene.base_seed,
                direction_seeds=scene.direction_seeds,
                geometry=scene.geometry,
                endpoint=False,
            )
        else:
            first, second, third = origin.states
            whole = planes.plane_through(
                first,
                second,
                third,
                one,
                lengths=lengths,
                center=(0.0, 0.0),
                geometry=scene.geometry,
                endpoint=False,
            )
        # A whole number lets tiles of all levels share their points to the bit.
        length = given or str(max(1, int(SHARE * whole.frame.circumference)))
        lengths = (float(length),) * 2
        counts = (CELLS, CELLS)
        return cls(
            dataclasses.replace(whole, counts=counts, lengths=lengths, dtype=torch.float64), length, coarser
        )

    def anchored(self, anchor: TileAddress) -> PlaneNoise:
        """The noises of an anchor, as a plane whose coordinates are relative to its middle."""
        if anchor.level == 0:
            return self.whole
        side = float(self.length) / 2**anchor.level
        middle = map(float, middle_of(anchor, self.length))
        frame = RelativeFrame(self.whole.frame, *middle)
        return dataclasses.replace(self.whole, frame=frame, lengths=(side, side), center=(0.0, 0.0))

    def tile(self, address: TileAddress, dtype: torch.dtype, cells: int = CELLS) -> PlaneNoise:
        """The noises of a tile.

        Raises: UserError if the precision does not tell its cells apart.
        """
        part = self.anchored(address.anchor).in_precision(dtype)
        inside = address.in_anchor
        return planes.tile(part, inside.level, inside.x, inside.y, cells)

    def noise(self, cell: CellAddress, dtype: torch.dtype) -> torch.Tensor:
        """The noise [1, C, H, W] of a cell, with the bits that it has in its tile."""
        part, (row, column) = self.tile(cell.tile, dtype), cell.place
        return part.at(np.array([[part.u[column], part.v[row]]]))

    def deepest(self, dtype: torch.dtype, *, guard: float = 1.0) -> int:
        """The last level of which all tiles have cells at least `guard` times the resolution apart; −1 if those of level 0 do not."""
        levels = math.log2(float(self.length) / (guard * self.least(dtype)))
        return min(max(math.floor(levels), -1), LARGEST_LEVEL)

    def least(self, dtype: torch.dtype) -> float:
        """The side of a tile whose cells are as far apart as the precision resolves everywhere in the plane."""
        return CELLS * self.coarser * self.whole.in_precision(dtype).largest_resolution
