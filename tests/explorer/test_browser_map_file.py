"""A stored map in a real browser: its cells at their coordinates, without a model."""

import functools
import re

import numpy as np
import pytest
import xarray
from explorer_pages import Running, served

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


def pixel(page, x, y):
    """The colour [r, g, b, a] of the map at a place of the page."""
    return page.evaluate(
        """([x, y]) => {
          const canvas = [...document.querySelectorAll("canvas[data-tile]")].find((tile) => {
            const box = tile.getBoundingClientRect();
            return box.left <= x && x < box.right && box.top <= y && y < box.bottom;
          });
          const box = canvas.getBoundingClientRect();
          const at = [(x - box.left) / box.width * 64, (y - box.top) / box.height * 64].map(Math.floor);
          const copy = new OffscreenCanvas(1, 1).getContext("2d"); // reading a canvas of the page twice makes Chromium warn
          copy.drawImage(canvas, -at[0], -at[1]);
          return [...copy.getImageData(0, 0, 1, 1).data];
        }""",
        [x, y],
    )


def test_cells_have_their_coordinates_colours_and_facts(open_map, labels):
    page = open_map(**SMALL)
    page.wait_for_selector("canvas[data-finished=true]")
    page.wait_for_selector("body[data-work='0']")
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    per_pixel = 12 / 1024  # 24 cells of 0.5 at level 2
    for column, row in ((12, 8), (15, 5), (8, 10)):
        x = middle[0] + (U[column] - U.mean()) / per_pixel
        y = middle[1] - (V[row] - V.mean()) / per_pixel
        page.mouse.move(x, y)
        shown = re.match(r"\((.*), (.*)\) · (\d)", page.inner_text("#cursor"))
        assert abs(float(shown[1]) - U[column]) < 0.02 and abs(float(shown[2]) - V[row]) < 0.02
        color = SystemConfig.class_colors[labels[row, column]]
        assert int(shown[3]) == labels[row, column]
        assert pixel(page, x, y) == [*(int(color[k : k + 2], 16) for k in (1, 3, 5)), 255]
        with page.expect_response(re.compile("/api/point")):
            page.mouse.click(x, y)
        page.wait_for_selector("#panel:not([aria-busy])")
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
    page.wait_for_selector("body[data-work='0']")
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


def test_places_outside_of_the_map_are_empty(open_map):
    page = open_map("#map=basins.npz&level=0", width=400, height=800)
    page.wait_for_selector("body[data-work='0']")
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert pixel(page, *middle)[3] == 255
    x, y = middle[0], middle[1] - 100  # 100 of 128 pixels above the middle; the map ends at 4 / 12 of them
    assert pixel(page, x, y)[3] == 0
    with page.expect_response(re.compile("/api/point")):
        page.mouse.click(x, y)
    page.wait_for_selector("#how-known:has-text('ends before')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
