"""The file of known points: its bound, and two explorers that use it at the same time."""

import base64
import dataclasses
import itertools
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import torch

from denoscope.basins import point_cache
from denoscope.basins.labelling import Labelling
from denoscope.config import SystemConfig
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import TileAddress
from denoscope.foundation.errors import UserError

SCENE = Scene("digits", steps=1)
TILE, NEXT = TileAddress(3, 3, 4), TileAddress(3, 4, 4)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "points.db"


def points_in(path):
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM points").fetchone()[0]


@pytest.fixture(scope="module")
def models():
    return Models("digits", device="cpu")


@pytest.fixture(scope="module")
def expected(models):
    """Both tiles, without a cache."""
    atlas = Atlas(SCENE, models.denoiser, None)
    return {tile: list(atlas.fine([tile]))[-1][1].planes for tile in (TILE, NEXT)}


def test_two_explorers_share_a_file_while_both_are_at_work(cache, models, expected):
    """Their tiles are computed piece by piece in turns."""
    one, other = (Atlas(SCENE, models.denoiser, cache).fine([tile]) for tile in (TILE, NEXT))
    pieces = list(itertools.zip_longest(one, other))
    for k, tile in enumerate((TILE, NEXT)):
        _, last = [piece[k] for piece in pieces if piece[k] is not None][-1]
        np.testing.assert_array_equal(last.planes, expected[tile])


def test_points_of_the_file_are_not_computed_again(cache, models, expected, monkeypatch):
    ((_, coarse),) = Atlas(SCENE, models.denoiser, cache).coarse([TILE])
    assert points_in(cache) == 64
    *_, (_, first) = Atlas(SCENE, models.denoiser, cache).fine([TILE])
    monkeypatch.setattr(Labelling, "__call__", lambda *_: pytest.fail("computed again"))
    ((_, known),) = Atlas(SCENE, models.denoiser, cache).coarse([TILE])
    *_, (_, again) = Atlas(SCENE, models.denoiser, cache).fine([TILE])
    np.testing.assert_array_equal(first.planes, expected[TILE])
    np.testing.assert_array_equal(again.planes, expected[TILE])
    np.testing.assert_array_equal(known.planes, coarse.planes)


IMAGE = base64.urlsafe_b64encode(bytes(range(0, 256, 4))).decode().rstrip("=")
OTHERS = [
    {"scheduler": "ddpm"}, {"clip_sample": False}, {"steps": 3}, {"base_seed": 1},
    {"direction_seeds": (1, 2)}, {"geometry": "flat"}, {"dtype": "float64"}, {"lanes": 8}, {"noise_seed": 9}, {"reject": True},
    {"image": IMAGE}, {"image": IMAGE, "image_level": "1"}, {"image": IMAGE[::-1]},
    {"through": (1, 2, 3)}, {"through": (1, 2, 4)},
    *({"model": "digits-conditional", **condition} for condition in (
        {"labels": (3,)}, {"labels": (4,)}, {"labels": (3,), "guidance_scale": 2.0}, {"labels": (3,), "guidance_scale": 3.0},
    )),
]  # fmt: skip


def coarse_of(models, cache, **others):
    scene = dataclasses.replace(SCENE, **{"steps": 2, **others})
    ((_, picture),) = Atlas(scene, models.denoiser, cache).coarse([TILE])
    if isinstance(picture, Exception):
        raise picture
    return picture.planes


def test_whatever_decides_labels_is_part_of_the_key(cache, models):
    """Each scene adds all of its points to the file, so that it took none of those that the others left there."""
    coarse_of(models, cache)
    for number, others in enumerate(OTHERS, 2):
        coarse_of(models, cache, **others)
        assert points_in(cache) == 64 * number, others
    assert {name for others in OTHERS for name in others} | {"length"} == {
        item.name for item in dataclasses.fields(Scene)
    }, "coordinates stand for the length"


def test_weights_and_threads_are_part_of_the_key(cache, models):
    coarse_of(models, cache)
    changed = Models("digits", device="cpu")
    with torch.no_grad():
        next(changed.denoiser(SCENE, torch.float32).network.parameters()).mul_(0.5)
    found = coarse_of(changed, cache)
    assert points_in(cache) == 128 and (found != coarse_of(models, None)).any()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        coarse_of(models, cache)
    finally:
        torch.set_num_threads(threads)
    assert points_in(cache) == 192


def test_a_file_that_is_too_large_is_emptied_and_goes_on(cache, models, expected):
    session = Session(models, SCENE, SystemConfig.class_colors, cache, largest_cache=1)
    counts, planes = [], []
    for tile in (TILE, NEXT, TILE):
        before = points_in(cache)
        atlas = session._atlas(SCENE)
        counts.append((before, points_in(cache)))
        planes.append(list(atlas.fine([tile]))[-1][1].planes)
        atlas._finished.clear()
    session.close()
    for found, tile in zip(planes, (TILE, NEXT, TILE), strict=True):
        np.testing.assert_array_equal(found, expected[tile])
    (before, _), *others = counts
    assert before == 0 and all(before > 40 and after == 0 for before, after in others)


def test_another_file_is_not_emptied(tmp_path):
    (tmp_path / "notes.txt").write_text("mine" * 1000)
    with pytest.raises(UserError, match=r"notes\.txt"):
        point_cache.empty(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine" * 1000
