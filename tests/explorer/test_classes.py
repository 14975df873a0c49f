"""Planes of a model with classes: the server's tiles, points and recordings are those of one class and guidance."""

import base64
import json
import zlib

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from starlette.testclient import TestClient

import denoscope as ds
from denoscope.config import SystemConfig
from denoscope.explorer.atlas import GROWTH, Atlas
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.application import application
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import TileAddress

BASE = "http://127.0.0.1:8765"
MODEL, TILE, CELL = "digits-conditional", "2/1/2", "2/72/136"
ROW, COLUMN = 8, 8


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    session = Session(
        Models("digits", device="cpu"),
        Scene("digits"),
        SystemConfig.class_colors,
        folder / "points.db",
        recordings=folder / "explored",
    )
    gate = application(session, 8765)
    with TestClient(gate, base_url=BASE) as opened:
        opened.get(gate.link)
        yield opened
    session.close()


def planes_of(client, scene, kind="labels"):
    text = client.post("/api/view", json={"scene": scene, "tiles": [TILE], "kind": kind}).text
    data = base64.b64decode(json.loads(text.splitlines()[-1])["data"])
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(4, 64, 64)


def denoised_by_diffusers(x_T, label, scale, steps):
    """The loop of diffusers' guide to classifier-free guidance, with the null class 10."""
    denoiser = ds.load(MODEL, device="cpu")
    scheduler = DDIMScheduler.from_config(denoiser.scheduler.config)
    scheduler.set_timesteps(steps)
    x = x_T
    for t in scheduler.timesteps:
        with torch.no_grad():
            cond, uncond = (
                denoiser.network(x, t, class_labels=torch.tensor([name])).sample for name in (label, 10)
            )
        x = scheduler.step(uncond + scale * (cond - uncond), t, x).prev_sample
    return x


@pytest.mark.parametrize(("label", "scale"), [(3, 1), (8, 1), (3, 2)])
def test_tile_point_and_recording_are_of_the_class(client, label, scale):
    scene = {"model": MODEL, "steps": "3", "labels": str(label), "guidance_scale": str(scale)}
    assert client.get("/api/scene", params=scene).json()["scene"].get("labels") == str(label)
    answer = client.get("/api/point", params={**scene, "cell": CELL, "layers": "mid_block"}).json()
    recorded = client.post("/api/record", json={"scene": scene, "cell": CELL, "layers": "mid_block"}).json()
    recording = ds.open(recorded["path"])
    x_T, x_0 = recording.sequence.values[0, [0, -1]]
    expected = denoised_by_diffusers(torch.from_numpy(x_T)[None], label, scale, 3)
    np.testing.assert_allclose(x_0, expected[0].numpy(), atol=1e-4)
    assert recording.dataset.class_label.values.tolist() == [label]
    (found,) = ds.classify(expected).label.tolist()
    assert answer["label"] == recorded["label"] == found == planes_of(client, scene)[0, ROW, COLUMN] - 1
    assert answer["layers"]["mid_block"]["of"] == recording["mid_block"].channel.size * (
        2 if scale > 1 else 1
    )


def test_pairs_and_growths_are_of_the_class(client):
    scenes = [{"model": MODEL, "steps": "1", "labels": "3", **more} for more in ({}, {"guidance_scale": "2"})]
    other = "2/75/130"
    for scene in scenes:
        answer = client.get("/api/pair", params={**scene, "a": CELL, "b": other}).json()
        paths = [
            client.post("/api/record", json={"scene": scene, "cell": cell}).json()["path"]
            for cell in (CELL, other)
        ]
        a, b = (ds.open(path).final.values[0].astype(float) for path in paths)
        assert answer["separation"][-1] == pytest.approx(np.linalg.norm(a - b), rel=1e-5)
        atlas = Atlas(Scene.of_fields(scene), Models("digits", device="cpu").denoiser, None)
        *_, (_, expected) = atlas.growth([TileAddress.parse(TILE)])
        np.testing.assert_array_equal(planes_of(client, scene, GROWTH), expected.planes)
    assert (planes_of(client, scenes[0], GROWTH) != planes_of(client, scenes[1], GROWTH)).any()


@pytest.mark.parametrize(
    ("scene", "parts"),
    [
        ({"model": MODEL}, ("denoises under a class", "&labels=3")),
        ({"model": MODEL, "labels": "11"}, ("names class 11", "0 to 10")),
        ({"model": "digits", "labels": "3"}, ("labels is 3", "digits takes no classes")),
        ({"model": MODEL, "guidance_scale": "2"}, ("guidance_scale is 2 without labels",)),
    ],
)
def test_a_class_that_does_not_fit_the_model_is_refused_in_words(client, scene, parts):
    response = client.get("/api/scene", params=scene)
    assert response.status_code == 400 and all(part in response.json()["error"] for part in parts)
