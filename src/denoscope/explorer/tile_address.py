"""Addresses of tiles and of single points: exact integers at any level."""

from __future__ import annotations

import re
from dataclasses import dataclass

from denoscope.foundation.errors import UserError
from denoscope.noise.planes import LARGEST_LEVEL

CELLS = 64
"""Cells of a tile along each side."""
MOST_TILES = 160
"""Tiles of one view."""
ANCHOR_EVERY = 20
"""Levels after which coordinates are counted from a nearer point."""
NUMBERS = re.compile(r"([0-9]{1,2})/([0-9]{1,20})/([0-9]{1,20})")


@dataclass(frozen=True, order=True)
class TileAddress:
    """Tile (x, y) of the plane that is cut into 2^level × 2^level tiles; x counts along u and y along v."""

    level: int
    x: int
    y: int

    def __post_init__(self) -> None:
        parts = 2 ** min(max(self.level, 0), LARGEST_LEVEL)
        if not 0 <= self.level <= LARGEST_LEVEL or not (0 <= self.x < parts and 0 <= self.y < parts):
            raise UserError(
                f"there is no tile {self}; allowed: level/x/y, level 0 to {LARGEST_LEVEL}, x and y from 0 to 2^level − 1"
            )

    @classmethod
    def parse(cls, text: str) -> TileAddress:
        """The address that a text `level/x/y` spells.

        Raises: UserError if the text is malformed, or the plane has no such tile.
        """
        return cls(*_numbers(text, "tile"))

    def __str__(self) -> str:
        return f"{self.level}/{self.x}/{self.y}"

    @property
    def anchor(self) -> TileAddress:
        """The tile that contains this one and from whose middle its coordinates are counted, at a multiple of 20 levels."""
        rise = self.level % ANCHOR_EVERY
        return TileAddress(self.level - rise, self.x >> rise, self.y >> rise)

    @property
    def in_anchor(self) -> TileAddress:
        """The address of this tile within its anchor."""
        rise = self.level % ANCHOR_EVERY
        mask = 2**rise - 1
        return TileAddress(rise, self.x & mask, self.y & mask)


@dataclass(frozen=True, order=True)
class CellAddress:
    """Cell (i, j) of the lattice of a level, which has 64 · 2^level points along each side."""

    level: int
    i: int
    j: int

    def __post_init__(self) -> None:
        self.tile  # noqa: B018 - refuses cells outside of the plane

    @classmethod
    def parse(cls, text: str) -> CellAddress:
        """The address that a text `level/i/j` spells.

        Raises: UserError if the text is malformed, or the plane has no such cell.
        """
        return cls(*_numbers(text, "cell"))

    def __str__(self) -> str:
        return f"{self.level}/{self.i}/{self.j}"

    @property
    def tile(self) -> TileAddress:
        """The tile that contains the cell."""
        return TileAddress(self.level, self.i // CELLS, self.j // CELLS)

    @property
    def place(self) -> tuple[int, int]:
        """Row and column of the cell in its tile."""
        return self.j % CELLS, self.i % CELLS


def _numbers(text: str, kind: str) -> tuple[int, int, int]:
    found = NUMBERS.fullmatch(text)
    if found is None:
        raise UserError(f"{kind} is {text[:80]!r}; allowed: three integers, such as 3/2/5")
    level, x, y = map(int, found.groups())
    return level, x, y
