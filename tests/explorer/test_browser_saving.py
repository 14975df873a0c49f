"""Posters, cells and films of a view, the menu that saves them, and cancelling."""

import base64
import contextlib
import io
import json
import queue
import re
import xml.etree.ElementTree as ElementTree
from fractions import Fraction

import pytest
from page_actions import between, finish, rest, saved
from PIL import Image
from playwright.sync_api import expect

from denoscope.explorer.coordinates import coordinate
from denoscope.explorer.layer_colors import LAYERS, colors_of
from denoscope.explorer.saving.saved_file import Progress
from denoscope.explorer.session import Session

SVG = "{http://www.w3.org/2000/svg}"


def test_a_poster_and_the_cells_show_the_same_labels_at_the_same_place(open_page, explorer):
    page = open_page(f"#model=digits&steps=2&level=2&at={between(2, 2, 2)}")
    finish(page)
    address = "#" + page.url.partition("#")[2]
    poster = ElementTree.fromstring(saved(page, "poster").read_bytes())
    assert poster.find(f"{SVG}desc").text == address
    texts = [item.text for item in poster.iter(f"{SVG}text")]
    assert (
        address in "".join(texts)
        and "no class" in texts
        and f"{page.inner_text('#ruler-text')} (L2)" in texts
    )
    middle, length = coordinate(64 * 2, 2, "18"), page.locator("#map").bounding_box()["width"]
    shown = [float(middle + share * Fraction(length) * 18 / 256 / 2**2) for share in (-0.5, 0, 0.5)]
    labels = [float(text) for text in texts if re.fullmatch(r"-?[0-9]+\.[0-9]+", text)]
    for value in shown:
        assert any(abs(value - label) < 1e-4 for label in labels)

    (image,) = poster.iter(f"{SVG}image")
    cells = json.loads(saved(page, "cells").read_bytes())
    assert cells["address"] == address and cells["facts"]["length"] == "18"
    tiles = {tile["tile"]: tile for tile in cells["tiles"]}
    assert set(tiles) == {"2/1/2", "2/2/2"} and all(tile["finished"] for tile in tiles.values())
    assert float(tiles["2/2/2"]["u"]) == pytest.approx(float(middle), abs=1e-5)
    with Image.open(io.BytesIO(base64.b64decode(image.get("href").partition(",")[2]))) as picture:
        assert picture.size[1] == 64
        seen = set()
        for x in range(0, 64, 3):
            for y in range(0, 64, 3):
                label = tiles["2/2/2"]["label"][64 * (63 - y) + x]
                color = "#{:02x}{:02x}{:02x}".format(*picture.getpixel((picture.size[0] // 2 + x, y))[:3])
                seen.add((label, color))
    assert seen <= set(enumerate(explorer.session.colors)) and len(seen) > 1


def test_a_film_is_saved_in_the_colours_of_the_page(open_page, explorer):
    page = open_page("#model=digits&steps=2&level=0&at=0,0&layer=margin")
    finish(page)
    content = saved(page, "film").read_bytes()
    assert content[:3] == b"GIF" or content[4:8] == b"ftyp"
    expect(page.locator("#saving")).to_be_hidden()
    page.select_option("#layer", "class")
    rest(page)
    assert page.inner_text("#work") == "film saved", "it stays there until tiles are computed"
    colors = list(explorer.session.colors)
    tables = page.evaluate(
        """async ([layers, colors]) => {
          const { tableOf } = await import("/palette.js");
          return layers.map((layer) => tableOf(layer, colors));
        }""",
        [LAYERS, colors],
    )
    for layer, table in zip(LAYERS, tables, strict=True):
        assert table == colors_of(layer, colors).tolist(), layer


@pytest.mark.usefixtures("no_tiles")
def test_work_on_a_file_shows_how_far_it_is_and_can_be_cancelled(open_page, monkeypatch):
    pieces, ended = queue.Queue(), queue.Queue()

    def pieces_of_a_file(*_):
        try:
            piece = pieces.get(timeout=60)
            while True:
                yield piece
                with contextlib.suppress(
                    queue.Empty
                ):  # goes on with the same piece, so that it can be cancelled
                    piece = pieces.get(timeout=0.05)
        finally:
            ended.put(True)

    monkeypatch.setattr(Session, "saved", pieces_of_a_file)
    page = open_page("#model=digits&steps=2")
    page.click("#save summary")
    page.click("#save-page")
    pieces.put(Progress(3, 12))
    page.wait_for_selector("#saving progress[value='3'][max='12']")
    assert "page" in page.inner_text("#saving")
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#saving").is_hidden()
    assert ended.get(timeout=60)
    page.click("#save summary")
    page.click("#save-film")
    pieces.put(ValueError("on purpose"))
    page.wait_for_selector("#message:has-text('on purpose')")
    assert page.locator("#saving").is_hidden()


@pytest.mark.usefixtures("no_tiles")
def test_the_menu_works_by_keys(open_page):
    page = open_page("#model=digits&steps=2")
    page.locator("#save summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#save-picture").is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "save-picture"
    page.keyboard.press("Escape")
    assert not page.locator("#save-picture").is_visible()
    page.click("#save summary")
    page.mouse.click(200, 300)
    page.wait_for_selector("#save:not([open])")


@pytest.mark.usefixtures("no_tiles")
def test_the_header_is_low_and_hides_nothing(open_page):
    page = open_page("#model=digits&steps=2", width=1280, height=500)
    tops = page.evaluate(
        "[...document.querySelectorAll('header .tools > *')].map((item) => item.getBoundingClientRect().top)"
    )
    assert max(tops) - min(tops) < 12 and page.locator("header").bounding_box()["height"] < 70
    cut = "item => item.scrollWidth > item.clientWidth || getComputedStyle(item).textOverflow !== 'clip'"
    assert not page.locator("#scene-summary").evaluate(cut), "it can be read without a pointer"
