"""What a page of a view holds when it would become too large: fewer points, and a word about it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.saving import exported_view as pages
from denoscope.explorer.saving.exported_view import exported_view
from denoscope.explorer.saving.saved_file import Progress
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_picture import TilePicture
from denoscope.foundation.errors import UserError

LARGEST = 10_000_000


@pytest.fixture
def computed():
    """The tiles that were asked for."""
    return []


@pytest.fixture
def atlas(computed):
    """Tiles of random bytes, which cannot be compressed: no tiles are larger. Those of the growth have 16 × 16 points."""
    draw = np.random.default_rng(0)

    def fine(addresses):
        for address in addresses:
            computed.append(address)
            yield address, TilePicture(draw.integers(0, 256, (4, 64, 64), dtype=np.uint8), finished=True)

    def growth(addresses):
        for address in addresses:
            picture = TilePicture(draw.integers(0, 256, (4, 16, 16), dtype=np.uint8), finished=True)
            yield address, picture.enlarged()

    return SimpleNamespace(
        plane=SimpleNamespace(length="16"),
        deepest=45,
        fine=fine,
        growth=growth,
        scene=Scene("digits", steps=50),
        lanes=64,
    )


@pytest.fixture
def sequences_of(monkeypatch):
    """Makes the sequence of each point have a number of bytes."""

    def sequences_of(size):
        monkeypatch.setattr(
            pages,
            "point_sequences",
            lambda _, cells, layers: iter(
                [None, [{"cell": str(cell), "states": "x" * size, "layers": list(layers)} for cell in cells]]
            ),
        )

    return sequences_of


def held(page):
    return json.loads(re.search(r'id="exported">(.*?)</script>', page.decode())[1])


@pytest.mark.parametrize("layer", ["class", "growth"])
def test_a_page_of_the_deepest_view_is_bounded(atlas, sequences_of, computed, monkeypatch, layer):
    """The middle of the plane is a corner of four tiles at every level, and so has most of them above it."""
    sequences_of(20_000)
    monkeypatch.setattr(
        pages,
        "point_pair",
        lambda _, a, b, layers: iter([None, {"cells": [str(a), str(b)], "layers": list(layers)}]),
    )
    address = f"#model=digits&level=45&at=0,0&layer={layer}&a=0,0@45&b=1.5,0@3&layers=mid_block"
    *progress, made = exported_view(atlas, {}, address)
    assert all(isinstance(item, Progress) and item.done <= item.count for item in progress)
    assert len(made.content) <= LARGEST
    page = held(made.content)
    assert len(page["tiles"]) == (2 if layer == "growth" else 1)
    assert all(len(tiles) == len(set(computed)) > 190 for tiles in page["tiles"].values())
    assert [cell.partition("/")[0] for cell in list(page["points"])[:3]] == ["45", "3", "45"]
    assert page["pair"] == {"cells": list(page["points"])[:2], "layers": ["mid_block"]}
    assert page["facts"]["points"] == list(page["points"])
    shown = [answer["layers"] for answer in page["points"].values()]
    assert shown[:2] == [["mid_block"]] * 2 and not any(shown[2:])


def test_a_page_with_long_sequences_holds_fewer_points_and_says_so(atlas, sequences_of):
    sequences_of(1_000)
    *_, full = exported_view(atlas, {}, "#model=digits&level=1")
    assert full.note == held(full.content)["facts"]["note"] == "" and len(held(full.content)["points"]) == 97
    sequences_of(450_000)
    *_, made = exported_view(atlas, {}, "#model=digits&level=1&at=0.3,0.7")
    page = held(made.content)
    assert LARGEST * 0.7 < len(made.content) <= LARGEST and 10 < len(page["points"]) < 20
    assert (
        made.note
        == page["facts"]["note"]
        == f"sequences of {len(page['points']) - 1} of 96 points, to stay below 10 MB"
    )
    columns = {cell.split("/")[1] for cell in list(page["points"])[1:]}
    rows = {cell.split("/")[2] for cell in list(page["points"])[1:]}
    assert len(columns) * len(rows) == len(page["points"]) - 1 and len(columns) >= len(rows) > 1


def test_a_page_whose_chosen_points_do_not_fit_is_refused_before_its_tiles(atlas, sequences_of, computed):
    sequences_of(LARGEST)
    with pytest.raises(UserError, match=r"of 50 steps each; allowed: .*; export fewer steps"):
        list(exported_view(atlas, {}, "#model=digits&level=1"))
    assert not computed


@pytest.mark.parametrize("most", [-1, 0, 1, 2, 5, 37, 95, 96, 1000])
def test_a_lattice_has_at_most_as_many_points_as_fit(most):
    view = pages.View.of("#model=digits&level=2", length="16", deepest=40)
    cells = pages.fitting_lattice(view, most)
    assert len(cells) == len(set(cells)) <= max(most, 0) and len(cells) >= min(most, 96) * 0.7
    assert len(cells) == 96 or most < 96


def test_a_page_with_sequences_that_are_longer_than_the_first_is_bounded(atlas, monkeypatch):
    sizes = iter(range(90_000, 10**9, 1_000))
    monkeypatch.setattr(
        pages,
        "point_sequences",
        lambda _, cells, *__: iter([[{"cell": str(cell), "states": "x" * next(sizes)} for cell in cells]]),
    )
    *_, made = exported_view(atlas, {}, "#model=digits&level=1&at=0.3,0.7")
    page = held(made.content)
    assert LARGEST * 0.95 < len(made.content) <= LARGEST
    assert made.note.startswith(f"sequences of {len(page['points']) - 1} of 96") and page["facts"][
        "points"
    ] == list(page["points"])


def test_the_bytes_of_real_sequences_fit_as_expected(monkeypatch):
    """With a bound that 30 points of the model exceed."""
    monkeypatch.setattr(pages, "LARGEST", 860_000)
    atlas = Atlas(Scene("digits", steps=9), Models("digits", device="cpu").denoiser, None)
    filled = TilePicture(np.zeros((4, 64, 64), np.uint8), True)
    monkeypatch.setattr(atlas, "fine", lambda tiles: ((tile, filled) for tile in tiles))
    *_, made = exported_view(atlas, {}, "#model=digits&level=0")
    assert 790_000 < len(made.content) <= 860_000 and "of 96 points" in made.note
