"""Planes through three noises: where they lie, and that all their labels agree."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.plane_origin import PlaneOrigin
from denoscope.explorer.point_recording import record_point
from denoscope.explorer.point_sequence import point_sequence
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.foundation.errors import UserError

SHAPE = (1, 8, 8)
DEEP = TileAddress(25, 2**24 + 12345, 2**24 - 54321)
LOAD = Models("digits", device="cpu").denoiser


def base_of(seed: int) -> torch.Tensor:
    """The noise of a seed [C, H, W], which is the base of its plane."""
    return ds.noise.plane((1, 1), SHAPE, base_seed=seed).at([[0.0, 0.0]], torch.float64)[0]


@pytest.mark.parametrize(
    ("scene", "address"),
    [
        (Scene("digits", steps=2, through=(1, 2, 3)), DEEP),
        (Scene("digits", steps=2, through=(1, 2, 3), geometry="flat"), TileAddress(2, 1, 2)),
    ],
    ids=["through", "flat through"],
)
def test_a_cell_its_tile_and_a_recording_agree_to_the_bit(scene, address, tmp_path):
    atlas = Atlas(scene, LOAD, None)
    ((_, tile),) = atlas.coarse([address])
    cell = CellAddress(address.level, 64 * address.x + 24, 64 * address.y + 40)
    *_, answers = point_sequence(atlas, cell)
    (recorded,) = record_point(atlas, cell, [], tmp_path)
    assert answers["label"] == recorded["label"] == tile.planes[0, 40, 24] - 1
    recording = ds.open(recorded["path"])
    noise = atlas.plane.noise(cell, atlas.dtype(address.level))
    np.testing.assert_array_equal(recording.sequence.values[0, 0], noise[0].numpy())
    confidence = ds.classify(recording.final).confidence[0]
    assert np.float32(answers["confidence"]) == confidence
    assert tile.planes[1, 40, 24] == round(float(confidence) * 255)


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
def test_the_plane_goes_through_three_noises_that_it_shows(geometry):
    scene = Scene("digits", through=(1, 2, 3), geometry=geometry)
    atlas = Atlas(scene, LOAD, None)
    anchors = torch.stack([base_of(seed) for seed in scene.through])
    if geometry == "spherical":
        anchors *= (anchors[0].norm() / anchors.flatten(1).norm(dim=1))[:, None, None, None]
    named = atlas.origin.named
    assert list(named) == ["1", "2", "3"]
    assert max(map(abs, sum(named.values(), ()))) < float(atlas.plane.length) / 2
    found = atlas.plane.whole.at(list(named.values()), torch.float64)
    torch.testing.assert_close(found, anchors, atol=1e-9, rtol=0)
    # The same plane as that of the library.
    library = ds.noise.plane_through(*anchors, (1, 1), geometry=geometry)
    middle = library.at([library.center], torch.float64)
    torch.testing.assert_close(atlas.plane.whole.at([[0.0, 0.0]], torch.float64), middle, atol=1e-9, rtol=0)


def test_noises_that_span_no_plane_are_refused():
    scene = Scene("digits", through=(1, 2, 3))
    with pytest.raises(UserError, match="span no plane"):
        PlaneOrigin.of(scene, (1, 1, 1))
