"""Coordinates of cells as decimal text, exact at any level."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction

from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.foundation.errors import UserError

GUARD = 2
"""Decimals beyond those that tell neighbouring cells apart."""
DIGITS = 120
"""Significant digits in which coordinates are rounded: more than any lattice needs."""
NUMBER = re.compile(r"-?[0-9]{1,7}(\.[0-9]{1,40})?")


def coordinate(index: int, level: int, length: str) -> Fraction:
    """The coordinate (L2, from the base of the plane) of the points of a lattice that have this index along an axis."""
    return Fraction(length) * (Fraction(index, CELLS * 2**level) - Fraction(1, 2))


def middle_of(tile: TileAddress, length: str) -> tuple[Fraction, Fraction]:
    """The coordinates (u, v) of the middle of a tile."""
    u, v = (coordinate(CELLS * index + CELLS // 2, tile.level, length) for index in (tile.x, tile.y))
    return u, v


def text_of(cell: CellAddress, length: str) -> str:
    """The coordinates `u,v` of a cell, with as many decimals as tell its neighbours apart, and two more."""
    decimals = decimals_of(cell.level, length)
    return ",".join(rounded(coordinate(index, cell.level, length), decimals) for index in (cell.i, cell.j))


def cell_at(text: str, level: int, length: str) -> CellAddress:
    """The cell of a level nearest to the coordinates `u,v`; the inverse of `text_of`.

    The right and the upper edge of the plane have no cells of their own; the last ones stand for them.

    Raises: UserError if the text is malformed, or lies outside of the plane.
    """
    parts = text.split(",")
    if len(parts) != 2 or not all(NUMBER.fullmatch(part) for part in parts):
        raise UserError(f"the point is {text[:80]!r}; allowed: two decimal numbers, such as 1.25,-0.5")
    count = CELLS * 2**level
    i, j = (round((Fraction(part) / Fraction(length) + Fraction(1, 2)) * count) for part in parts)
    if not (0 <= i <= count and 0 <= j <= count):
        raise UserError(f"the point is {text[:80]!r}; allowed: within the plane, −{length}/2 to {length}/2")
    return CellAddress(level, min(i, count - 1), min(j, count - 1))


def decimals_of(level: int, length: str) -> int:
    """The number of decimals of coordinates at a level."""
    spacing = Fraction(length) / (CELLS * 2**level)
    decimals = 0
    while spacing < 1:
        spacing, decimals = spacing * 10, decimals + 1
    return decimals + GUARD


def rounded(value: Fraction, decimals: int) -> str:
    """A number with a fixed number of decimals, rounded half away from zero; zero has no sign."""
    scaled = abs(value) * 10**decimals
    whole = int(scaled + Fraction(1, 2))
    with localcontext() as context:
        context.prec = DIGITS
        number = Decimal(whole).scaleb(-decimals)
    sign = "-" if value < 0 and whole else ""
    return f"{sign}{number:.{decimals}f}"
