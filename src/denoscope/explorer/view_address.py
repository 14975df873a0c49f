"""The address of a view: which scene it names, and what lies around its middle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from urllib.parse import parse_qsl

from denoscope.explorer.coordinates import cell_at
from denoscope.explorer.layer_colors import CLASS, LAYERS
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.foundation.errors import UserError

LONGEST = 8192
"""Characters of an address."""
COLUMNS, ROWS = 8, 5
"""Tiles of a page beside each other and above each other: those that a window of 1920 × 1080 pixels shows."""
FIRST_LEVEL = 2


def scene_of(address: str) -> Scene:
    """The scene that an address names.

    Raises: UserError if a field of it is invalid.
    """
    names = {item.name for item in dataclasses.fields(Scene)}
    return Scene.of_fields({name: text for name, text in _fields(address).items() if name in names})


@dataclass(frozen=True)
class View:
    """The level of a view, the cell in its middle, the layer of the map, the chosen cells A and B, and the layers of the
    network that it shows."""

    level: int
    middle: CellAddress
    layer: str = CLASS
    chosen: tuple[CellAddress, ...] = ()
    """Without those that lie deeper than the view."""
    layers: tuple[str, ...] = ()

    @classmethod
    def of(cls, address: str, *, length: str, deepest: int) -> View:
        """The view of an address in a plane of a side and depth; classes around the middle of the plane if it names none.

        Raises: UserError if its level or coordinates are invalid.
        """
        fields = _fields(address)
        text = fields.get("level", str(FIRST_LEVEL))
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise UserError(f"level is {text[:80]!r}; allowed: 0 to {deepest}")
        level = min(int(text), deepest)
        middle = cell_at(fields.get("at", "0,0"), level, length)
        layer = fields.get("layer", CLASS)
        chosen = [_chosen(fields[name], length) for name in ("a", "b") if fields.get(name)]
        reached = tuple(cell for cell in chosen if cell.level <= level)
        shown = tuple(name for name in fields.get("layers", "").split(",") if name)
        return cls(level, middle, layer if layer in LAYERS else CLASS, reached, shown)

    @property
    def tiles(self) -> list[TileAddress]:
        """The tiles around the middle that a page shows, and all tiles above them, the largest first."""
        columns, rows = self.area
        within = [TileAddress(self.level, x, y) for x in columns for y in rows]
        above = {
            TileAddress(self.level - rise, tile.x >> rise, tile.y >> rise)
            for tile in within
            for rise in range(self.level + 1)
        }
        return sorted(above)

    @property
    def area(self) -> tuple[range, range]:
        """The columns and rows of the tiles around the middle."""
        return self._near(self.middle.i, COLUMNS), self._near(self.middle.j, ROWS)

    def lattice(self, columns: int, rows: int) -> list[CellAddress]:
        """Cells that are evenly spread over the tiles around the middle."""
        x, y = self.area
        return [CellAddress(self.level, i, j) for i in _spread(x, columns) for j in _spread(y, rows)]

    def _near(self, cell: int, count: int) -> range:
        """Up to `count` tiles along an axis, with a cell at most half a tile from their middle if the plane does not end."""
        parts = 2**self.level
        first = max(0, min((2 * cell + CELLS * (1 - count)) // (2 * CELLS), parts - count))
        return range(first, min(first + count, parts))


def _spread(tiles: range, count: int) -> list[int]:
    cells = CELLS * len(tiles)
    return [CELLS * tiles[0] + (2 * k + 1) * cells // (2 * count) for k in range(count)]


def _chosen(text: str, length: str) -> CellAddress:
    """The cell that `u,v@level` names."""
    place, _, level = text.rpartition("@")
    if not (level.isascii() and level.isdigit() and len(level) <= 2):
        raise UserError(
            f"the point is {text[:80]!r}; allowed: two decimal numbers and a level, such as 1.25,-0.5@3"
        )
    return cell_at(place, int(level), length)


def _fields(address: str) -> dict[str, str]:
    if len(address) > LONGEST:
        raise UserError(f"the address has {len(address)} characters; allowed: {LONGEST}")
    try:
        return dict(parse_qsl(address.rpartition("#")[2], keep_blank_values=True, max_num_fields=40))
    except ValueError:
        raise UserError("the address has too many fields; allowed: 40") from None
