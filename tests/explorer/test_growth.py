"""The growth of distances in the plane: known linear maps, other measures, and what the server sends of it."""

import base64
import json
import math
import zlib

import numpy as np
import pytest
import torch
from analytic import ddim_factors, scheduler_of
from starlette.testclient import TestClient

import denoscope as ds
from denoscope.config import SystemConfig
from denoscope.dynamics.known.analytic_models import Gaussian
from denoscope.explorer.atlas import GROWTH, Atlas
from denoscope.explorer.growth_tile import picture_of
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.application import application
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import TileAddress

BASE = "http://127.0.0.1:8765"


def values_of(planes: np.ndarray) -> np.ndarray:
    """The growth of each cell, from the bytes that a page gets."""
    return 10 ** ((planes[0].astype(int) * 256 + planes[1]) / 4096 - 8)


def linear_atlas(scene: Scene, eigenvalues: np.ndarray) -> Atlas:
    """The atlas of Gaussian data, whose denoising map multiplies pixel k by a known factor."""
    scheduler = scheduler_of("ddim")
    network = Gaussian(torch.diag(torch.as_tensor(eigenvalues)), scheduler)
    denoiser = ds.load(network, scheduler=scheduler, shape=(1, 8, 8), dtype="float64", device="cpu")
    return Atlas(scene, lambda _scene, _dtype: denoiser, None)


@pytest.mark.parametrize(
    ("geometry", "address"),
    [("flat", TileAddress(0, 0, 0)), ("flat", TileAddress(25, 2**24 + 12345, 2**24 - 54321)), ("spherical", TileAddress(9, 300, 77))],
    ids=str,
)  # fmt: skip
def test_a_linear_map_grows_by_its_singular_value_in_every_cell(geometry, address):
    eigenvalues = np.geomspace(1e-3, 1e3, 64)
    scene = Scene("linear", steps=3, dtype="float64", geometry=geometry, length="16")
    atlas = linear_atlas(scene, eigenvalues)
    *_, (_, picture) = atlas.growth([address])
    factors = np.array([np.prod(ddim_factors(value, 3)) for value in eigenvalues])
    part = atlas.plane.tile(address, torch.float64, 16)
    expected = np.empty((16, 16))
    for row, v in enumerate(part.v):
        for column, u in enumerate(part.u):
            step = 1e-6 if geometry == "spherical" else 1.0  # a flat plane has the same tangents everywhere
            around = [(u + step, v), (u - step, v), (u, v + step), (u, v - step)]
            right, left, up, down = part.at(around).reshape(4, 64).numpy()
            tangents = np.linalg.qr(np.stack([right - left, up - down], 1))[0]
            expected[row, column] = np.linalg.svd(factors[:, None] * tangents, compute_uv=False)[0]
    # Codes are 1/4096 of a decade apart; on a sphere a difference is a chord of 16 / 2^13 on a radius of about 8.
    tolerance = 3e-4 if geometry == "flat" else 1e-3
    np.testing.assert_allclose(values_of(picture.planes), np.kron(expected, np.ones((4, 4))), rtol=tolerance)


def test_a_cell_grows_as_the_derivative_says():
    scene = Scene("digits", steps=2, dtype="float64", geometry="flat", length="16")
    atlas = Atlas(scene, Models("digits", device="cpu").denoiser, None)
    address = TileAddress(12, 1500, 3000)
    *_, (_, picture) = atlas.growth([address])
    part = atlas.plane.tile(address, torch.float64, 16)
    grid = ds.noise.plane((1, 1), (1, 8, 8), lengths=(1.0, 1.0), center=(float(part.u[5]), float(part.v[9])))
    exact = ds.dynamics.plane_growth(atlas.denoiser(12), grid, steps=2).growth.values[0, 0, 0]
    assert math.log(values_of(picture.planes)[4 * 9, 4 * 5]) == pytest.approx(exact, abs=0.01)


def test_codes_tell_growths_that_are_not_finite_or_none_apart():
    growth = np.full((16, 16), 0.5)
    growth[0, :3] = np.nan, np.inf, 0.0
    planes = picture_of(growth).planes
    codes = planes[0].astype(int) * 256 + planes[1]
    assert codes[0, :12].tolist() == [0] * 8 + [1] * 4
    assert values_of(planes)[5, 20] == pytest.approx(0.5, rel=3e-4)


def test_the_server_computes_growth_only_for_a_view_that_shows_it(digits_session):
    gate, address = application(digits_session, 8765), TileAddress(4, 3, 9)
    atlas = digits_session._atlas(Scene("digits", steps=2))
    body = {"scene": {"model": "digits", "steps": "2"}, "tiles": [str(address)]}
    with TestClient(gate, base_url=BASE) as client:
        client.get(gate.link)
        client.post("/api/view", json=body)
        assert atlas.finished(address) and atlas.finished(address, GROWTH) is None
        (line,) = map(json.loads, client.post("/api/view", json={**body, "kind": GROWTH}).text.splitlines())
        kept = atlas.finished(address, GROWTH)
        assert line["finished"] and kept is not None and next(atlas.growth([address])) == (address, kept)
        response = client.post("/api/view", json={**body, "kind": "x"})
        assert response.status_code == 400 and "growth" in response.json()["error"]
    sent = np.frombuffer(zlib.decompress(base64.b64decode(line["data"])), np.uint8).reshape(4, 64, 64)
    np.testing.assert_array_equal(sent, kept.planes)


def test_a_growth_tile_that_is_dropped_ends_between_batches():
    atlas = linear_atlas(Scene("linear", steps=1, dtype="float64", lanes=16), np.ones(64))
    work = atlas.growth([TileAddress(3, 1, 1)])
    assert [next(work) for _ in range(3)] == [(TileAddress(3, 1, 1), None)] * 3
    work.close()
    assert atlas.finished(TileAddress(3, 1, 1), GROWTH) is None
    *_, (_, picture) = atlas.growth([TileAddress(3, 1, 1)])
    assert picture.finished


def growth_lines(cache, tile, **fields):
    """What a server that has just started sends of a growth tile, and how often it called the network for it.

    One more call tells which network it is.
    """
    models, calls = Models("digits", device="cpu"), []
    session = Session(models, Scene("digits"), SystemConfig.class_colors, cache)
    scene = {"model": "digits", "steps": "1", **fields}
    denoiser = models.denoiser(Scene.of_fields(scene), torch.float32)
    denoiser.network.register_forward_pre_hook(lambda *_: calls.append(1))
    gate = application(session, 8765)
    with TestClient(gate, base_url=BASE) as client:
        client.get(gate.link)
        text = client.post("/api/view", json={"scene": scene, "tiles": [tile], "kind": GROWTH}).text
    session.close()
    return [json.loads(line) for line in text.splitlines()], len(calls) - 1


def test_a_server_that_starts_again_takes_growths_from_the_file(tmp_path):
    cache, batches = tmp_path / "points.db", math.ceil(17 * 17 / 64)
    expected, calls = growth_lines(None, "3/1/1")
    assert calls == batches
    assert growth_lines(cache, "3/1/1") == (expected, batches)
    assert growth_lines(cache, "3/1/1") == (expected, 0)
    assert growth_lines(cache, "3/1/1", reject="1") == (expected, 0), "no classifier decides a growth"
    # Tile 4/2/2 has points of 3/1/1, whose neighbours are half as far.
    for tile, fields in (("4/2/2", {}), ("3/1/1", {"steps": "2"}), ("3/1/1", {"lanes": "32"})):
        found, calls = growth_lines(cache, tile, **fields)
        assert calls > 0 and found == growth_lines(None, tile, **fields)[0]
