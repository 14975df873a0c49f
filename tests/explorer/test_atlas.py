"""Tiles of a scene: their labels are those of `basins`, of a recording, and of single cells, at every level."""

import base64
import contextlib
import dataclasses
import gc
import random
import weakref
import zlib

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.coordinates import coordinate
from denoscope.explorer.explored_plane import ExploredPlane
from denoscope.explorer.models import Models
from denoscope.explorer.point_sequence import point_sequence, point_sequences
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.explorer.tile_picture import TilePicture
from denoscope.foundation.errors import UserError

SCENE = Scene("digits", steps=2)
DEEP = TileAddress(25, 2**24 + 12345, 2**24 - 54321)


@pytest.fixture(scope="module")
def atlas():
    return Atlas(SCENE, Models("digits", device="cpu").denoiser, None)


@pytest.mark.parametrize("clip_sample", [True, False])
def test_a_link_decides_whether_x_0_is_clipped_whatever_the_explorer_was_started_with(atlas, clip_sample):
    """The model's own scheduler clips, so the other choice has another confidence somewhere."""
    address, fields = TileAddress(2, 1, 1), {"model": "digits", "steps": "5"}
    (_, own), (_, picture) = (
        next(Atlas(Scene.of_fields(texts), atlas.load, None).coarse([address]))
        for texts in (fields, {**fields, "clip_sample": str(int(clip_sample))})
    )
    plane = atlas.plane.tile(address, torch.float32, 8)
    denoiser = ds.load("digits", clip_sample=clip_sample, device="cpu", dtype="float32")
    classes = ds.classify(ds.sample(denoiser, plane, steps=5, lanes=64))
    expected = np.stack([classes.label + 1, (classes.confidence * 255).round()]).reshape(2, 8, 8)
    np.testing.assert_array_equal(picture.planes[:2, ::8, ::8], expected.transpose(0, 2, 1))
    assert np.array_equal(own.planes, picture.planes) is clip_sample


@pytest.fixture(scope="module")
def boundary(atlas):
    """A tile of level 2 with more than one class, finished."""
    for x in range(4):
        address = TileAddress(2, x, 1)
        *_, (_, picture) = atlas.fine([address])
        if len(np.unique(picture.planes[0])) > 1:
            return address, picture
    raise AssertionError("no boundary")


def test_a_finished_tile_has_the_labels_of_single_points(atlas, boundary):
    address, picture = boundary
    plane = atlas.plane.tile(address, torch.float32)
    rows, columns = np.random.default_rng(0).integers(0, 64, (2, 1024))
    label_of = ds.basins.label_of(atlas.denoiser(2), plane, steps=2)
    answers = label_of.answers(np.stack([plane.u[columns], plane.v[rows]], 1))
    wrong = picture.planes[0, rows, columns].astype(int) - 1 != answers["label"].values
    computed = picture.planes[3, rows, columns] == 1
    assert wrong.mean() < 0.01 and not wrong[computed].any() and computed.sum() > 20
    shares = (answers["confidence"].values[computed] * 255).round()
    np.testing.assert_array_equal(picture.planes[1, rows, columns][computed], shares)


def test_tiles_become_finer_and_the_last_one_is_finished(atlas):
    stages = [picture for _, picture in atlas.fine([TileAddress(3, 5, 2)])]
    assert [stage.finished for stage in stages] == [False] * (len(stages) - 1) + [True]
    ((_, again),) = atlas.fine([TileAddress(3, 5, 2)])
    assert again is stages[-1]


def test_tiles_of_both_precisions_are_refined_each_in_its_own(atlas):
    """A saved page asks for the tiles of all levels at once; in float32, 153 cells of the deeper one change their label."""
    shallow, deep = TileAddress(1, 0, 0), TileAddress(16, 2421, 31744)
    assert shallow.level < atlas.float32_to < deep.level and shallow.anchor == deep.anchor
    together = dict(Atlas(SCENE, atlas.load, None).fine([shallow, deep]))
    for address, dtype in (shallow, "float32"), (deep, "float64"):
        scene = dataclasses.replace(SCENE, dtype=dtype)
        *_, (_, alone) = Atlas(scene, atlas.load, None).fine([address])
        np.testing.assert_array_equal(together[address].planes, alone.planes)
        assert len(np.unique(alone.planes[0])) == 2


def test_a_coarse_tile_has_the_labels_of_every_eighth_cell(atlas, boundary):
    address, picture = boundary
    fresh = Atlas(SCENE, atlas.load, None)
    ((_, coarse),) = fresh.coarse([address])
    assert not coarse.finished and coarse.planes.shape == picture.planes.shape
    assert coarse.planes[3].sum() == 64 and (coarse.planes[3, ::8, ::8] == 1).all(), (
        "the others are not known"
    )
    known = picture.planes[3, ::8, ::8] == 1
    np.testing.assert_array_equal(coarse.planes[0, ::8, ::8][known], picture.planes[0, ::8, ::8][known])


@pytest.mark.parametrize("address", [TileAddress(2, 1, 1), DEEP], ids=str)
def test_a_cell_its_tile_and_a_recording_agree_to_the_bit(atlas, address):
    *_, (_, picture) = atlas.fine([address])
    row, column = np.argwhere(picture.planes[3] == 1)[17]
    cell = CellAddress(address.level, 64 * address.x + int(column), 64 * address.y + int(row))
    *_, answers = point_sequence(atlas, cell)
    assert answers["label"] + 1 == picture.planes[0, row, column]
    noise = atlas.plane.noise(cell, atlas.dtype(address.level))
    recording = ds.record(atlas.denoiser(address.level), noise, steps=2, lanes=64)
    classes = ds.classify(recording.final)
    assert (classes.label[0], classes.confidence[0]) == (answers["label"], np.float32(answers["confidence"]))
    tile = atlas.plane.tile(address, atlas.dtype(address.level))
    assert torch.equal(noise[0], tile.tensor(int(column) * 64 + int(row)))


def test_neighbouring_tiles_share_their_plane_across_anchors():
    """The noise at the same place, by the coordinates of either side of a border between anchors, and of level 19."""
    plane = ExploredPlane.of(SCENE, (1, 8, 8))
    level, border = 22, 3 * 2**19
    left, right = (plane.tile(TileAddress(level, border - 1 + k, 2**21), torch.float64) for k in range(2))
    end = left.u[-1] + left.spacing[0]
    gap = (left.at([[end, left.v[0]]]) - right.at([[right.u[0], right.v[0]]])).norm()
    assert gap < 5e-15 < left.spacing[0]
    shallow = plane.tile(TileAddress(19, border >> 3, 2**18), torch.float64)
    torch.testing.assert_close(right.at([[right.u[0], right.v[0]]])[0], shallow.tensor(0), rtol=0, atol=2e-15)


def test_coordinates_of_cells_are_those_of_the_plane():
    plane = ExploredPlane.of(Scene("digits", length="16"), (1, 8, 8))
    part = plane.tile(TileAddress(3, 2, 5), torch.float64)
    expected = [float(coordinate(128 + k, 3, "16")) for k in range(64)]
    np.testing.assert_array_equal(part.u, expected)


def test_precision_follows_the_level(atlas):
    assert (
        atlas.dtype(atlas.float32_to) == torch.float32 and atlas.dtype(atlas.float32_to + 1) == torch.float64
    )
    assert 10 <= atlas.float32_to < 20 < 40 <= atlas.deepest
    only = Atlas(Scene("digits", steps=2, dtype="float32"), atlas.load, None)
    assert only.dtype(only.deepest) == torch.float32 and only.deepest < 20
    with pytest.raises(UserError, match="resolution"):
        raise next(only.fine([TileAddress(30, 2**29, 2**29)]))[1]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28)], ids=["digits", "mnist"])
@pytest.mark.parametrize("geometry", ["flat", "spherical"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_floor_holds_for_every_tile_and_the_second_level_below_it_for_none(shape, geometry, dtype):
    draw = random.Random(0)
    for seed in (420, 7, 8):
        plane = ExploredPlane.of(Scene("any", geometry=geometry, base_seed=seed), shape)
        for below in (0, 2):
            level = plane.deepest(dtype) + below
            last = 2**level - 1
            corners = [(x, y) for x in (0, last) for y in (0, last)]
            for x, y in [*corners, *((draw.randint(0, last), draw.randint(0, last)) for _ in range(36))]:
                with pytest.raises(UserError, match="resolution") if below else contextlib.nullcontext():
                    plane.tile(TileAddress(level, x, y), dtype)


def test_a_side_that_float32_does_not_resolve_is_computed_in_float64(atlas):
    small = Atlas(Scene("digits", steps=2, length="0.0001"), atlas.load, None)
    assert small.float32_to == -1 and small.dtype(0) == torch.float64 and 20 < small.deepest < atlas.deepest
    ((_, picture),) = small.coarse([TileAddress(0, 0, 0)])
    assert set(np.unique(picture.planes[0])) <= set(range(1, 11))
    with pytest.raises(UserError, match=r"length is 0\.0001; allowed: at least .*float32"):
        raise next(Atlas(dataclasses.replace(small.scene, dtype="float32"), atlas.load, None).coarse([DEEP]))[
            1
        ]


def test_an_atlas_that_is_dropped_leaves_the_memory(atlas):
    dropped = Atlas(SCENE, atlas.load, None)
    next(dropped.coarse([TileAddress(0, 0, 0)]))
    left = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert left() is None


def test_a_sequence_begins_with_the_noise_and_ends_with_the_image_of_the_tile(atlas):
    cell = CellAddress(2, 100, 70)
    *_, answer = point_sequence(atlas, cell, ["mid_block"])
    noise = atlas.plane.noise(cell, torch.float32)
    x_0 = ds.sample(atlas.denoiser(2), noise, steps=2, lanes=64)
    states = np.frombuffer(base64.b64decode(answer["states"]["data"]), np.uint8).reshape(3, 8, 8)
    for shown, image, largest in zip(
        states[[0, 2]], (noise, x_0), np.array(answer["states"]["ranges"])[[0, 2]], strict=True
    ):
        restored = (shown / 127.5 - 1) * largest
        np.testing.assert_allclose(restored, image[0, 0].numpy(), atol=0.01 * largest)
    assert answer["label"] == int(np.argmax(answer["probabilities"][-1])) == ds.classify(x_0).label[0]
    assert [len(row) for row in answer["probabilities"]] == [10] * 3
    np.testing.assert_allclose(np.sum(answer["probabilities"], 1), 1, atol=1e-3)
    maps = answer["layers"]["mid_block"]
    recorded = ds.record(atlas.denoiser(2), noise, steps=2, lanes=64, layers="mid_block")["mid_block"].values[
        0
    ]
    np.testing.assert_allclose(maps["norms"], [np.linalg.norm(step) for step in recorded], rtol=1e-3)
    assert (maps["channels"], maps["of"]) == (16, recorded.shape[1])


def test_sequences_of_many_points_are_those_of_each_alone(atlas):
    cells = [CellAddress(2, i, 70) for i in (100, 7, 130)]
    *_, together = point_sequences(atlas, cells, ["mid_block"])
    alone = [list(point_sequence(atlas, cell, ["mid_block"]))[-1] for cell in cells]
    assert together == alone and together[0] != together[1]


def test_a_model_outside_of_the_list_is_not_loaded(tmp_path):
    models = Models("digits", device="cpu")
    with pytest.raises(UserError, match=r"denoscope explore .*elsewhere"):
        models.denoiser(Scene(str(tmp_path / "elsewhere")))


def test_a_picture_holds_labels_shares_and_status_and_its_bytes_hold_the_picture():
    known, corner = np.eye(64, dtype=bool), (63, 0)
    values = np.where(known, 0.5, np.nan)
    data = {"label": np.full((64, 64), -1), "confidence": values, "margin": values / 2, "computed": known}
    data["label"][0] = 2
    picture = TilePicture.of(data, finished=True)
    assert picture.planes[0, :2, 5].tolist() == [3, 0] and picture.planes[3, 5, 4:7].tolist() == [0, 1, 0]
    assert (picture.planes[1] == 128).all() and picture.planes[2][corner] == 64
    unpacked = np.frombuffer(zlib.decompress(picture.packed()), np.uint8)
    np.testing.assert_array_equal(unpacked.reshape(4, 64, 64), picture.planes)
