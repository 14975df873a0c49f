"""The address of a view in Python: its scene, its tiles, and the points that are exported with it."""

from fractions import Fraction

import pytest

from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.explorer.view_address import View, scene_of
from denoscope.foundation.errors import UserError

ADDRESS = "http://127.0.0.1:8765/#model=digits&steps=7&level=5&at=1.25,-2.5&layer=margin&a=1,1@3"


def test_an_address_names_a_scene_and_a_middle():
    assert scene_of(ADDRESS) == Scene("digits", steps=7)
    view = View.of(ADDRESS, length="16", deepest=40)
    assert (view.level, view.middle.i, view.middle.j) == (
        5,
        int((1.25 + 8) / 16 * 2048),
        int((-2.5 + 8) / 16 * 2048),
    )


def test_the_tiles_of_a_view_lie_around_its_middle_with_all_above_them():
    view = View.of(ADDRESS, length="16", deepest=40)
    own = [tile for tile in view.tiles if tile.level == 5]
    assert len(own) == 40 and view.middle.tile in own
    for tile in own:
        for rise in range(6):
            assert TileAddress(5 - rise, tile.x >> rise, tile.y >> rise) in view.tiles
    assert view.tiles[0] == TileAddress(0, 0, 0)


def test_a_view_at_the_edge_of_the_plane_shows_the_tiles_beside_it():
    view = View.of("#model=digits&level=5&at=8.000000,-8.000000&a=8.0000,8.0000@5", length="16", deepest=40)
    assert view.middle == CellAddress(5, 2047, 0) and view.chosen == (CellAddress(5, 2047, 2047),)
    assert {(tile.x, tile.y) for tile in view.tiles if tile.level == 5} == {
        (x, y) for x in range(24, 32) for y in range(5)
    }


@pytest.mark.parametrize("place", ["0.0,0.0", "1.25,-2.5", "1.2422,-2.4961", "7.9,-7.9", "-8,8"])
def test_a_window_of_full_size_shows_no_tile_outside_of_the_area(place):
    """Its map has 1580 × 1010 pixels at most, and a tile 256 × 256."""
    view = View.of(f"#model=digits&level=5&at={place}", length="16", deepest=40)
    for cell, tiles, pixels in zip((view.middle.i, view.middle.j), view.area, (1580, 1010), strict=True):
        half = Fraction(pixels, 2 * 256)
        assert tiles[0] <= max(Fraction(cell, 64) - half, 0)
        assert min(Fraction(cell, 64) + half, 32) <= tiles[-1] + 1


def test_the_first_levels_show_the_whole_plane():
    view = View.of("#model=digits&level=1", length="16", deepest=40)
    assert [tile for tile in view.tiles if tile.level == 1] == [
        TileAddress(1, x, y) for x in (0, 1) for y in (0, 1)
    ]


def test_the_lattice_is_evenly_spread():
    cells = View.of("#model=digits&level=0", length="16", deepest=40).lattice(4, 2)
    assert sorted({cell.i for cell in cells}) == [8, 24, 40, 56] and sorted({cell.j for cell in cells}) == [
        16,
        48,
    ]


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("#level=3", "model"),
        ("#model=digits&steps=0", "steps"),
        ("#" + "a=1&" * 100, "40"),
        ("#model=" + "x" * 9000, "8192"),
    ],
)
def test_an_address_without_a_valid_scene_is_refused(address, part):
    with pytest.raises(UserError, match=part):
        scene_of(address)


@pytest.mark.parametrize(
    ("rest", "part"),
    [
        ("level=x", "level"),
        ("level=-1", "level"),
        ("at=1", "point"),
        ("at=99,0", "point"),
        ("at=8.2,0", "point"),
        ("level=٣", "level"),
        ("a=1,2", "level"),
        ("b=9,0@2", "point"),
    ],
)
def test_an_address_without_a_valid_view_is_refused(rest, part):
    with pytest.raises(UserError, match=part):
        View.of(f"#model=digits&{rest}", length="16", deepest=40)


def test_the_layer_of_a_view_is_the_one_named_and_otherwise_the_class():
    rests = ["layer=growth", "layer=margin", "layer=x", ""]
    views = [View.of(f"#model=digits&{rest}", length="16", deepest=40) for rest in rests]
    assert [view.layer for view in views] == ["growth", "margin", "class", "class"]


def test_chosen_points_are_cells_of_their_own_levels_unless_they_lie_deeper_than_the_view():
    address = "#model=digits&level=3&a=1.0,-2.0@3&b=0.5,0.5@4"
    assert View.of(address, length="16", deepest=40).chosen == (CellAddress(3, 288, 192),)
    assert len(View.of(address.replace("level=3", "level=4"), length="16", deepest=40).chosen) == 2
    assert View.of("#model=digits&level=3", length="16", deepest=40).chosen == ()


def test_a_level_beyond_the_floor_is_the_last_one():
    assert View.of("#model=digits&level=64", length="16", deepest=40).level == 40
