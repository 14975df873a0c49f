"""Addresses of tiles and cells, and coordinates as decimal text."""

import random
from fractions import Fraction

import pytest

from denoscope.explorer.coordinates import cell_at, coordinate, decimals_of, rounded, text_of
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.foundation.errors import UserError


def test_a_tile_is_restored_from_its_text():
    for text in ("0/0/0", "3/7/5", f"64/{2**64 - 1}/0"):
        assert str(TileAddress.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1/2",
        "0/1/0",
        "3/8/0",
        "3/0/-1",
        "65/0/0",
        "1/0/0/0",
        "1.0/0/0",
        "a/b/c",
        "1/0/٠",
        f"64/{2**64}/0",
        "9" * 400,
    ],
)
def test_what_is_no_tile_is_refused(text):
    with pytest.raises(UserError, match="tile"):
        TileAddress.parse(text)


def test_a_tile_lies_in_its_anchor():
    draw = random.Random(1)
    for _ in range(300):
        level = draw.randint(0, 64)
        tile = TileAddress(level, draw.randrange(2**level), draw.randrange(2**level))
        anchor, inside = tile.anchor, tile.in_anchor
        assert anchor.level % 20 == 0 and 0 <= inside.level < 20 and anchor.level + inside.level == level
        for whole, above, below in ((tile.x, anchor.x, inside.x), (tile.y, anchor.y, inside.y)):
            assert whole == above * 2**inside.level + below


def test_a_cell_lies_in_its_tile():
    cell = CellAddress.parse("2/70/100")
    assert cell.tile == TileAddress(2, 1, 1) and cell.place == (36, 6)
    with pytest.raises(UserError, match="tile"):
        CellAddress(0, CELLS, 0)


@pytest.mark.parametrize("length", ["18", "0.5", "58.25", "123456.000000000001"])
def test_a_cell_is_restored_from_its_coordinates(length):
    draw = random.Random(2)
    for _ in range(200):
        level = draw.randint(0, 60)
        cell = CellAddress(level, draw.randrange(CELLS * 2**level), draw.randrange(CELLS * 2**level))
        text = text_of(cell, length)
        assert cell_at(text, level, length) == cell
        for part, index in zip(text.split(","), (cell.i, cell.j), strict=True):
            spacing = Fraction(length) / (CELLS * 2**level)
            assert abs(Fraction(part) - coordinate(index, level, length)) <= spacing / 100


def test_the_corner_and_the_middle_have_the_coordinates_of_the_plane():
    assert text_of(CellAddress(0, 0, 32), "18") == "-9.000,0.000"
    assert text_of(CellAddress(1, 127, 64), "16") == "7.875,0.000"


@pytest.mark.parametrize("level", [0, 2, 31, 60])
@pytest.mark.parametrize("length", ["18", "0.5", "58.25", "123456.000000000001"])
def test_each_edge_of_the_plane_belongs_to_the_cells_beside_it(level, length):
    low, high = (rounded(sign * Fraction(length) / 2, decimals_of(level, length) + 2) for sign in (-1, 1))
    last = CELLS * 2**level - 1
    assert cell_at(f"{high},{low}", level, length) == CellAddress(level, last, 0)
    assert cell_at(f"{low},{high}", level, length) == CellAddress(level, 0, last)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (Fraction(-1, 3), 2, "-0.33"),
        (Fraction(1, 200), 2, "0.01"),
        (Fraction(-1, 1000), 2, "0.00"),
        (Fraction(7), 0, "7"),
    ],
)
def test_numbers_are_rounded_half_away_from_zero(value, decimals, text):
    assert rounded(value, decimals) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1,2,3", "nan,0", "1e5,0", "99,0", "0,-9.2", "9.1,0", "0,9.02", "٣,0", "0," + "1" * 300]
)
def test_what_is_no_point_of_the_plane_is_refused(text):
    with pytest.raises(UserError, match="point"):
        cell_at(text, 3, "18")
