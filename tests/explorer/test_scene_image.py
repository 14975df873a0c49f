"""Noises that are added to an image: denoising begins at its level, as a plain loop of diffusers does."""

import base64
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.point_pair import point_pair
from denoscope.explorer.point_recording import record_point
from denoscope.explorer.point_sequence import point_sequence
from denoscope.explorer.scene import Scene
from denoscope.explorer.scene_image import SceneImage, image_of
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.figures.sheets.sheet import Sheet
from denoscope.foundation.errors import UserError
from denoscope.recording.verify import stored

BYTES = np.random.default_rng(5).integers(0, 256, 64, dtype=np.uint8)
IMAGE = base64.urlsafe_b64encode(BYTES.tobytes()).decode().rstrip("=")
LOAD = Models("digits", device="cpu").denoiser


@torch.no_grad()
def plain_loop(scene: Scene, noise: torch.Tensor) -> list[torch.Tensor]:
    """The states of one noise [1, C, H, W] from the image with noise on, in a batch of 64 rows."""
    denoiser = LOAD(scene, noise.dtype)
    image = torch.from_numpy(BYTES / 127.5 - 1).to(noise.dtype).reshape(1, 1, 8, 8)
    if noise.dtype == torch.float64:
        scheduler = denoiser.new_scheduler(scene.steps)  # diffusers computes its tables in float32
    else:
        scheduler = type(denoiser.scheduler).from_config(denoiser.scheduler.config)
        scheduler.set_timesteps(scene.steps)
    timesteps = scheduler.timesteps[scene.steps - round(float(scene.image_level) * scene.steps) :]
    rows = noise.expand(64, -1, -1, -1)
    sequence = [scheduler.add_noise(image.expand_as(rows), rows, timesteps[:1].repeat(len(rows)))]
    for timestep in timesteps:
        output = denoiser.network(sequence[-1], timestep).sample
        sequence.append(scheduler.step(output, timestep, sequence[-1]).prev_sample)
    return [state[:1] for state in sequence]


@pytest.mark.parametrize(
    ("scene", "address"),
    [
        (Scene("digits", steps=4, image=IMAGE, image_level="0.5"), TileAddress(2, 1, 2)),
        (
            Scene("digits", steps=3, image=IMAGE, image_level="1", geometry="flat", length="20"),
            TileAddress(25, 2**24 + 12345, 2**24 - 54321),
        ),
        (Scene("digits", steps=4, image=IMAGE, through=(1, 2, 3)), TileAddress(3, 4, 4)),
    ],
    ids=["spherical", "deep and flat", "through noises"],
)
def test_a_cell_its_tile_and_a_recording_are_the_plain_loop_from_the_image_to_the_bit(
    scene, address, tmp_path
):
    atlas = Atlas(scene, LOAD, None)
    ((_, tile),) = atlas.coarse([address])
    cell = CellAddress(address.level, 64 * address.x + 24, 64 * address.y + 40)
    *_, answers = point_sequence(atlas, cell, ["mid_block"])
    (recorded,) = record_point(atlas, cell, ["mid_block"], tmp_path)
    recording = ds.open(recorded["path"])
    noise = atlas.plane.noise(cell, atlas.dtype(address.level))
    truth = torch.cat(plain_loop(scene, noise))
    left = round(float(scene.image_level) * scene.steps)
    assert torch.equal(torch.from_numpy(recording.sequence.values[0]), truth) and len(truth) == left + 1
    assert recording["mid_block"].sizes["step"] == answers["states"]["count"] - 1 == left
    every = LOAD(scene).new_scheduler(scene.steps).timesteps[-left:].tolist()
    assert answers["timesteps"] == recording.sequence.timestep.values[:left].tolist() == every
    (label,), (confidence,) = (getattr(ds.classify(truth[-1:]), name) for name in ("label", "confidence"))
    assert answers["label"] == recorded["label"] == tile.planes[0, 40, 24] - 1 == label
    assert np.float32(answers["confidence"]) == np.float32(confidence)
    assert tile.planes[1, 40, 24] == round(float(confidence) * 255)
    with pytest.raises(UserError, match="begins with an image with noise"):
        stored.store(recorded["path"], recompute=1)
    assert stored.store(recorded["path"]).sound
    assert Sheet.open(Path(recorded["path"])).description()["noised_image"], "its sheet calls no state x_T"


def test_other_images_and_levels_have_labels_of_their_own(tmp_path):
    """In one file of known points."""
    other = base64.urlsafe_b64encode((255 - BYTES).tobytes()).decode().rstrip("=")
    scenes = [
        Scene("digits", steps=4, **fields)
        for fields in (
            {},
            {"image": IMAGE, "image_level": "0.5"},
            {"image": IMAGE, "image_level": "1"},
            {"image": other, "image_level": "0.5"},
        )
    ]
    found = []
    for cache in (None, tmp_path / "points.db"):
        for scene in scenes:
            ((_, tile),) = Atlas(scene, LOAD, cache).coarse([TileAddress(0, 0, 0)])
            found.append(tile.planes[1].tobytes())
    assert found[: len(scenes)] == found[len(scenes) :] and len(set(found)) == len(scenes)


def test_two_points_are_compared_from_their_images_with_noise_on():
    scene = Scene("digits", steps=4, image=IMAGE, image_level="0.5")
    atlas, cells = Atlas(scene, LOAD, None), (CellAddress(0, 10, 20), CellAddress(0, 30, 40))
    *_, answer = point_pair(atlas, *cells)
    states = [plain_loop(scene, atlas.plane.noise(cell, torch.float32)) for cell in cells]
    truth = [float((a - b).double().norm()) for a, b in zip(*states, strict=True)]
    assert answer["separation"] == pytest.approx(truth, rel=1e-5)


def test_a_level_of_little_noise_ends_where_the_states_are_no_longer_told_apart():
    """At timestep 0 the noises are a hundredth of the states: they must be a hundred times farther apart."""
    plain, noised = (
        Atlas(Scene("digits", steps=10, **fields), LOAD, None)
        for fields in ({}, {"image": IMAGE, "image_level": "0.1"})
    )
    assert 5 <= plain.deepest - noised.deepest <= 8 and 5 <= plain.float32_to - noised.float32_to <= 8
    level = noised.float32_to
    for cell in (CellAddress(level, 0, 0), CellAddress(level, 2 ** (level + 5), 2 ** (level + 5))):
        beside = CellAddress(level, cell.i + 1, cell.j)
        one, other = (
            plain_loop(noised.scene, noised.plane.noise(c, torch.float32))[0] for c in (cell, beside)
        )
        exact = noised.plane.noise(beside, torch.float64) - noised.plane.noise(cell, torch.float64)
        share = float((other - one).double().norm() / exact.norm())
        added = math.sqrt(1 - float(LOAD(noised.scene).scheduler.alphas_cumprod[0]))
        assert share == pytest.approx(added, rel=0.1)


def test_an_image_of_the_wrong_size_is_refused():
    with pytest.raises(UserError, match=r"image has 64 bytes; allowed: 784.*1 × 28 × 28"):
        image_of(IMAGE, (1, 28, 28))
    with pytest.raises(UserError, match=r"image is given.*12,288 values; allowed: 4,096"):
        image_of(IMAGE, (3, 64, 64))


def test_a_level_without_a_step_and_a_scheduler_with_earlier_steps_are_refused():
    scene = Scene("digits", steps=2, image=IMAGE, image_level="0.1")
    with pytest.raises(UserError, match=r"image_level is 0\.1; allowed: 0\.5 to 1"):
        SceneImage.of(scene, LOAD(scene))
    scene = Scene("digits", steps=2, image=IMAGE, scheduler="UniPCMultistepScheduler")
    with pytest.raises(UserError, match="cannot begin between two steps"):
        SceneImage.of(scene, LOAD(scene))
