"""A stored map as a page: its tiles and cells without a model, and what is refused."""

import json
import zlib
from base64 import b64decode
from fractions import Fraction

import numpy as np
import pytest
import xarray
from starlette.testclient import TestClient

import denoscope as ds
from denoscope.config import SystemConfig
from denoscope.explorer.map_files.map_file import OUTSIDE, MapFile
from denoscope.explorer.map_files.map_session import MapSession
from denoscope.explorer.server.map_application import map_application
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.foundation.errors import UserError
from denoscope.foundation.writing.result_files import write

BASE = "http://127.0.0.1:8765"


def stored(nx=7, ny=4, *, center=(2.5, -1.25), spacing=(0.5, 0.75)) -> xarray.Dataset:
    """A map of random labels that is not square and not centred, some of its cells filled."""
    draw = np.random.default_rng(1)
    status = draw.choice([1, 2, 3], size=(ny, nx)).astype(np.int8)
    status[0, 0] = 1
    shares = np.where(status == 1, draw.uniform(size=(2, ny, nx)), np.nan).astype(np.float32)
    axes = [
        middle + space * (np.arange(count) - (count - 1) / 2)
        for middle, space, count in zip(center, spacing, (nx, ny), strict=True)
    ]
    cells = {
        "label": draw.integers(-1, 10, (ny, nx)),
        "confidence": shares[0],
        "margin": shares[1],
        "computed": status == 1,
        "status": status,
    }
    return xarray.Dataset(
        {name: (("y", "x"), values) for name, values in cells.items()},
        coords={"u": ("x", axes[0]), "v": ("y", axes[1])},
        attrs={"model": "digits", "fingerprint": {"scheduler": "DDIMScheduler", "num_steps": 20}},
    )


@pytest.fixture
def opened(tmp_path):
    """A function from a dataset to the map in the file that holds it."""

    def open_map(data: xarray.Dataset) -> MapFile:
        write(data, tmp_path / "basins.npz")
        return MapFile.open(tmp_path / "basins.npz")

    return open_map


def planes_of(found: MapFile, address: str) -> np.ndarray:
    picture = found.tile(TileAddress.parse(address))
    return np.frombuffer(zlib.decompress(picture.packed()), np.uint8).reshape(4, 64, 64)


def place(text: str, facts) -> tuple[Fraction, ...]:
    """The coordinates (u, v) of the middle of a cell of the page's lattice, in exact arithmetic."""
    cell = CellAddress.parse(text)
    share = [Fraction(2 * k + 1, 128 * 2**cell.level) - Fraction(1, 2) for k in (cell.i, cell.j)]
    length = Fraction(facts["length"])
    return tuple(
        part * length + Fraction(middle) for part, middle in zip(share, facts["middle"], strict=True)
    )


@pytest.mark.parametrize("sizes", [(7, 4), (4, 7), (1, 5), (130, 40), (64, 64)])
def test_a_tile_has_the_values_of_the_nearest_cell(opened, sizes):
    data = stored(*sizes)
    found = opened(data)
    facts = found.description()
    u, v = data["u"].values, data["v"].values
    half = [space / 2 for space in found.grid.spacing]
    for tile in ("0/0/0", "1/1/0", "2/1/2"):
        planes = planes_of(found, tile)
        level, x, y = map(int, tile.split("/"))
        for row, column in ((0, 0), (17, 40), (32, 31), (63, 63), (40, 2)):
            at = place(f"{level}/{64 * x + column}/{64 * y + row}", facts)
            a, b = int(np.abs(u - float(at[0])).argmin()), int(np.abs(v - float(at[1])).argmin())
            if abs(u[a] - float(at[0])) > half[0] or abs(v[b] - float(at[1])) > half[1]:
                assert planes[3, row, column] == OUTSIDE
            else:
                assert planes[0, row, column] == data["label"].values[b, a] + 1
                assert planes[3, row, column] == data["status"].values[b, a]
                if data["computed"].values[b, a]:
                    assert planes[1, row, column] == round(float(data["confidence"].values[b, a]) * 255)
                    assert planes[2, row, column] == round(float(data["margin"].values[b, a]) * 255)


def test_the_square_of_the_page_holds_all_cells_and_the_deepest_level_shows_each(opened):
    found = opened(stored(150, 40))
    facts = found.description()
    assert float(facts["length"]) == 150 * 0.5 and [float(value) for value in facts["middle"]] == [2.5, -1.25]
    assert facts["deepest"] == 4, "2^4 · 64 places for 150 cells: 6.8 each; 3.4 a level above"
    assert facts["scene"] == {"map": "basins.npz"} and not facts["unstored"] and facts["growth"] is False
    assert "150 × 40 cells" in facts["summary"] and "DDIMScheduler, 20 steps" in facts["summary"]
    assert opened(stored(4, 4)).description()["deepest"] == 2


def test_each_cell_is_found_where_it_is_and_its_address_leads_back(opened):
    data = stored()
    found = opened(data)
    facts, deepest = found.description(), found.grid.deepest
    for row in range(4):
        for column in range(7):
            address = f"{deepest}/{'/'.join(map(str, found.grid.lattice(column, row)))}"
            u, v = place(address, facts)
            assert (
                abs(float(u) - data["u"].values[column]) < 0.25
                and abs(float(v) - data["v"].values[row]) < 0.375
            )
            answer = found.cell(CellAddress.parse(address))
            assert (answer["row"], answer["column"], answer["cell"]) == (row, column, address)
            assert answer["label"] == data["label"].values[row, column]
            assert (
                answer["status"]
                == {1: "computed", 2: "backed", 3: "probed"}[int(data["status"].values[row, column])]
            )
            assert ("confidence" in answer) == bool(data["computed"].values[row, column])
            if "confidence" in answer:
                assert answer["confidence"] == data["confidence"].values[row, column]
    assert found.cell(CellAddress(2, 0, 0)) == {"cell": "2/0/0", "status": "outside"}


def test_a_map_of_digits_opens_as_it_was_computed(tmp_path, digits):
    plane = ds.noise.plane((6, 5), digits.shape, lengths=(12, 6), center=(1, 2), endpoint=False)
    basins = ds.basins.map(
        digits, plane, steps=1, method="adaptive", audit=0, checkpoint=tmp_path / "map.npz"
    )
    found = MapFile.open(tmp_path / "map.npz")
    counts = {
        int(key): int(count)
        for key, count in zip(*np.unique(planes_of(found, "0/0/0")[3], return_counts=True), strict=True)
    }
    assert set(counts) == {*np.unique(basins["status"]).tolist(), OUTSIDE}
    for row, column in ((0, 0), (4, 5), (2, 3)):
        answer = found.cell(CellAddress(found.grid.deepest, *found.grid.lattice(column, row)))
        assert answer["label"] == int(basins["label"][row, column])
        assert answer["u"] == float(basins["u"][column]) and answer["v"] == float(basins["v"][row])


def test_an_exact_map_of_a_function_has_no_confidence(opened):
    data = (
        stored()
        .drop_vars(["confidence", "margin", "status"])
        .assign(computed=(("y", "x"), np.ones((4, 7), bool)))
    )
    found = opened(data)
    assert found.description()["unstored"] == ["confidence", "margin"]
    answer = found.cell(CellAddress(found.grid.deepest, *found.grid.lattice(3, 2)))
    assert answer["status"] == "computed" and "confidence" not in answer
    assert set(np.unique(planes_of(found, "0/0/0")[3])) == {1, OUTSIDE}


def test_an_unfinished_map_shows_what_is_known(opened):
    data = stored()
    data["status"][1:] = 0
    data["computed"][1:] = False
    found = opened(data)
    assert "7 of 28 cells" in found.description()["summary"] and "resume" in found.description()["summary"]
    assert found.cell(CellAddress(found.grid.deepest, *found.grid.lattice(0, 2)))["status"] == "unknown"
    answer = found.cell(CellAddress(found.grid.deepest, *found.grid.lattice(0, 0)))
    assert answer["label"] == data["label"].values[0, 0]


def changed(name, values):
    return lambda data: data.assign({name: (("y", "x"), values)})


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda data: data.drop_vars("label"), ["confidence", "map of basins"]),
        (lambda data: data.expand_dims("level"), ["label (level, y, x)", "map of basins"]),
        (lambda data: data.drop_vars("u"), ["map of basins"]),
        (changed("status", np.full((4, 7), 9, np.int8)), ["status is 9", "version"]),
        (changed("label", np.full((4, 7), 1000)), ["label is 1000", "250"]),
        (changed("label", np.full((4, 7), 0.5)), ["label is float64", "version"]),
        (changed("confidence", np.full((4, 7), "x")), ["confidence is <U1", "version"]),
        (lambda data: data.assign_coords(u=("x", np.arange(7.0) ** 2)), ["u is not evenly spaced"]),
        (lambda data: data.assign_coords(v=("y", np.full(4, np.nan))), ["v is not evenly spaced"]),
        (lambda data: data.isel(x=slice(0)), ["u is not evenly spaced"]),
        (changed("status", np.zeros((4, 7), np.int8)), ["no computed cell", "resume"]),
    ],
)
def test_other_files_are_refused_in_one_line(opened, change, parts):
    with pytest.raises(UserError) as error:
        opened(change(stored()))
    assert "basins.npz" in str(error.value) and "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), str(error.value)


@pytest.fixture
def client(opened):
    session = MapSession(opened(stored()), SystemConfig.class_colors)
    gate = map_application(session, 8765)
    with TestClient(gate, base_url=BASE) as client:
        assert client.get("/api/start").status_code == 401
        client.get(gate.link)
        yield client
    session.close()


def test_the_server_of_a_map_answers_with_its_tiles_and_cells(client):
    assert client.get("/api/start").json() == {"address": "#map=basins.npz"}
    facts = client.get("/api/scene?map=basins.npz").json()
    assert len(facts["colors"]) == 10 and facts["map"]
    body = {"scene": {"map": "basins.npz"}, "tiles": ["1/0/0", "0/0/0", "1/0/0"]}
    lines = [json.loads(line) for line in client.post("/api/view", json=body).text.splitlines()]
    assert [line["tile"] for line in lines] == ["1/0/0", "0/0/0"] and all(line["finished"] for line in lines)
    assert len(zlib.decompress(b64decode(lines[0]["data"]))) == 4 * 64 * 64
    point = client.get("/api/point?map=basins.npz&cell=2/128/128&layers=").json()
    assert point["row"] == 2 and point["column"] == 3


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("scene?map=other.npz", "other.npz"),
        ("scene?model=digits", "basins.npz"),
        ("point?map=basins.npz&cell=2/128", "cell"),
        ("point?map=basins.npz&cell=0/64/0", "tile"),
    ],
)
def test_other_requests_are_refused_in_words(client, path, part):
    response = client.get(f"/api/{path}")
    assert response.status_code == 400 and part in response.json()["error"]
    tiles = {"scene": {"map": "basins.npz"}, "tiles": [f"8/{k}/0" for k in range(161)]}
    assert "160" in client.post("/api/view", json=tiles).json()["error"]
    assert client.post("/api/view", json={"tiles": []}).status_code == 400
    assert client.get("/api/pair?map=basins.npz").status_code == 404
