"""Planes around an image with noise and through three noises: where they lie, and that all their labels agree."""

import base64

import numpy as np
import pytest
import torch
from analytic import levels, scheduler_of

import denoscope as ds
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.plane_origin import PlaneOrigin, image_of
from denoscope.explorer.point_recording import record_point
from denoscope.explorer.point_sequence import point_sequence
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.foundation.errors import UserError

SHAPE = (1, 8, 8)
BYTES = np.random.default_rng(5).integers(0, 256, 64, dtype=np.uint8)
IMAGE = base64.urlsafe_b64encode(BYTES.tobytes()).decode().rstrip("=")
DEEP = TileAddress(25, 2**24 + 12345, 2**24 - 54321)
LOAD = Models("digits", device="cpu").denoiser


def base_of(seed: int) -> torch.Tensor:
    """The noise of a seed [C, H, W], which is the base of its plane."""
    return ds.noise.plane((1, 1), SHAPE, base_seed=seed).at([[0.0, 0.0]], torch.float64)[0]


@pytest.mark.parametrize(
    ("scene", "address"),
    [
        (Scene("digits", steps=2, image=IMAGE), TileAddress(2, 1, 2)),
        (Scene("digits", steps=2, image=IMAGE, image_level="1", geometry="flat", length="20"), DEEP),
        (Scene("digits", steps=2, through=(1, 2, 3)), DEEP),
        (Scene("digits", steps=2, through=(1, 2, 3), geometry="flat"), TileAddress(2, 1, 2)),
    ],
    ids=["image", "flat image", "through", "flat through"],
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
@pytest.mark.parametrize(("level", "timestep"), [("0.3", 200), ("1", 900)])
def test_the_middle_of_the_plane_is_the_image_with_noise(level, timestep, geometry):
    scene = Scene("digits", image=IMAGE, image_level=level, base_seed=7, geometry=geometry)
    atlas = Atlas(scene, LOAD, None)
    kept = levels(scheduler_of("ddim"))[timestep]
    expected = np.sqrt(kept) * (BYTES / 127.5 - 1) + np.sqrt(1 - kept) * base_of(7).numpy().ravel()
    middle = atlas.plane.whole.at([[0.0, 0.0]], torch.float64)
    np.testing.assert_allclose(middle.numpy().ravel(), expected, atol=1e-6)
    drawn = ds.noise.plane((1, 1), SHAPE, base_seed=7, geometry="flat").directions.flatten(1)
    along = atlas.plane.whole.directions.flatten(1)
    radial = middle.flatten() / middle.norm()
    for vector in drawn if geometry == "spherical" else ():
        inside = torch.cat([along, radial[None]])
        torch.testing.assert_close(inside.T @ (inside @ vector), vector, atol=1e-9, rtol=0)
    if geometry == "flat":
        torch.testing.assert_close(along, drawn, atol=1e-9, rtol=0)


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


def test_an_image_of_the_wrong_size_is_refused():
    with pytest.raises(UserError, match=r"image has 64 bytes; allowed: 784.*1 × 28 × 28"):
        image_of(IMAGE, (1, 28, 28))
    with pytest.raises(UserError, match=r"image is given.*12,288 values; allowed: 4,096"):
        image_of(IMAGE, (3, 64, 64))


def test_a_level_without_a_step_and_a_scheduler_without_noise_are_refused():
    scene = Scene("digits", steps=2, image=IMAGE, image_level="0.1")
    with pytest.raises(UserError, match=r"image_level is 0\.1; allowed: 0\.5 to 1"):
        PlaneOrigin.of(scene, LOAD(scene))


def test_noises_that_span_no_plane_are_refused():
    scene = Scene("digits", through=(1, 2, 3))
    with pytest.raises(UserError, match="span no plane"):
        PlaneOrigin.through(scene, (1, 1, 1))
