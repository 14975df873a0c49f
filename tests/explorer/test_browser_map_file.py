"""A stored map in a real browser: its cells at their coordinates, without a model."""

import functools
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import xarray
from explorer_pages import Running, served
from page_actions import color_at, finish, middle_of, pick, rgba, saved

from denoscope.config import SystemConfig
from denoscope.explorer.map_files.map_file import MapFile
from denoscope.explorer.map_files.map_session import MapSession
from denoscope.explorer.server.map_application import map_application
from denoscope.foundation.writing.result_files import write

SMALL = {"width": 700, "height": 440}
U, V = 10 + 0.5 * np.arange(24), -3 + 0.25 * np.arange(16)


@pytest.fixture(scope="module")
def labels():
    """Three classes of 24 × 16 cells around (15.75, −1.125)."""
    return (np.add.outer(np.arange(16), np.arange(24)) // 8 % 3).astype(np.int64)


@pytest.fixture(scope="module")
def explored(tmp_path_factory, labels):
    status = np.where(np.arange(24) % 3 == 0, 1, 2).astype(np.int8) * np.ones((16, 1), np.int8)
    cells = {
        "label": labels,
        "confidence": np.where(status == 1, 0.75, np.nan).astype(np.float32),
        "computed": status == 1,
        "status": status,
    }
    data = xarray.Dataset(
        {name: (("y", "x"), values) for name, values in cells.items()}, coords={"u": ("x", U), "v": ("y", V)}
    )
    path = tmp_path_factory.mktemp("map") / "basins.npz"
    write(data, path)
    session = MapSession(MapFile.open(path), SystemConfig.class_colors)
    with served(functools.partial(map_application, session)) as gate:
        yield Running(gate)
    session.close()


@pytest.fixture
def open_map(pages, explored):
    with pages.opening(explored) as opened:
        yield opened


def test_cells_have_their_coordinates_colours_and_facts(open_map, labels):
    page = open_map(**SMALL)
    finish(page)
    middle = middle_of(page)
    per_pixel = 12 / 1024  # 24 cells of 0.5 at level 2
    for column, row in ((12, 8), (15, 5), (8, 10)):
        right, down = (U[column] - U.mean()) / per_pixel, -(V[row] - V.mean()) / per_pixel
        page.mouse.move(middle[0] + right, middle[1] + down)
        shown = re.match(r"\(u, v\) = \((.*), (.*)\) · class (\d)", page.inner_text("#cursor"))
        assert abs(float(shown[1]) - U[column]) < 0.02 and abs(float(shown[2]) - V[row]) < 0.02
        assert int(shown[3]) == labels[row, column]
        assert color_at(page, right, down) == rgba(SystemConfig.class_colors[labels[row, column]])
        pick(page, right, down)
        assert page.inner_text("#point-title") == f"Becomes {labels[row, column]}"
        assert f"({U[column]:g}, {V[row]:g})" in page.inner_text("#point-facts")
        assert f"row {row}, column {column}" in page.inner_text("#point-facts")
        computed = column % 3 == 0
        assert ("computed:" in page.inner_text("#how-known")) == computed
        assert ("confidence 0.750" in page.inner_text("#point-facts")) == computed
    assert page.inner_text("#ruler-text") == "1", "1.0 is 85 pixels long"
    for hidden in ("#play", "#record", "#open-settings", "#bars", "#add-layer", ".frames"):
        assert not page.locator(hidden).is_visible()


def test_a_link_restores_the_view_and_the_cell(open_map):
    page = open_map("#map=basins.npz&level=2&at=12.0,-2.0&layer=margin", **SMALL)
    finish(page)
    page.locator("#map").focus()
    with page.expect_response(re.compile("/api/point")):
        page.keyboard.press("Enter")
    page.wait_for_selector("#panel:not([aria-busy])")
    assert "(12, -2)" in page.inner_text("#point-facts") and "a=" in page.url
    assert "margin is not stored" in page.inner_text("#legend")
    again = open_map("#" + page.url.partition("#")[2], **SMALL)
    again.wait_for_selector("#panel:not([aria-busy])")
    assert again.url.partition("#")[2] == page.url.partition("#")[2]
    assert again.inner_text("#point-facts") == page.inner_text("#point-facts")


def test_posters_cells_and_bookmarks_are_those_of_the_map(open_map, labels):
    page = open_map("#map=basins.npz&level=2&at=12.0,-2.0&layer=margin", **SMALL)
    finish(page)
    poster = ElementTree.fromstring(saved(page, "poster").read_bytes())
    texts = [item.text for item in poster.iter("{http://www.w3.org/2000/svg}text")]
    assert "margin is not stored" in texts
    shown = [float(text) for text in texts if re.fullmatch(r"-?[0-9]+\.[0-9]+", text)]
    for value in (12, 12 - 350 * 12 / 1024, -2):
        assert any(abs(value - number) < 1e-3 for number in shown)

    cells = json.loads(saved(page, "cells").read_bytes())
    seen = set()
    for tile in cells["tiles"]:
        assert "margin" not in tile
        u, v = (float(tile[name]) + cells["spacing"] * (np.arange(64) + 0.5) for name in "uv")
        columns, rows = np.round((u - U[0]) / 0.5).astype(int), np.round((v - V[0]) / 0.25).astype(int)
        inside = ((rows >= 0) & (rows < 16))[:, None] & (columns >= 0) & (columns < 24)
        assert ((np.reshape(tile["status"], (64, 64)) > 0) == inside).all()
        expected = labels[rows.clip(0, 15)][:, columns.clip(0, 23)]
        assert (np.reshape(tile["label"], (64, 64)) == np.where(inside, expected, -1)).all()
        seen |= set(inside.ravel().tolist())
    assert seen == {True, False}
    page.click("#open-bookmarks")
    assert page.get_attribute("#bookmarks [name=name]", "placeholder") == "basins.npz, level 2"


def test_places_outside_of_the_map_are_empty(open_map):
    page = open_map("#map=basins.npz&level=0", width=400, height=800)
    finish(page)
    assert color_at(page, 0, 0)[3] == 255
    # 100 of 128 pixels above the middle; the map ends at 4 / 12 of them
    assert color_at(page, 0, -100)[3] == 0
    pick(page, 0, -100)
    assert "ends before" in page.inner_text("#how-known")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
