"""What the page saves: files that lead back to their view, and pages without a server."""

import io
import json
import re

import numpy as np
import pytest
from explorer_pages import WAIT
from page_actions import absences, address_of, between, color_at, drop, finish, middle_of, saved
from PIL import Image
from playwright.sync_api import expect

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.saving import exported_view
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CELLS
from denoscope.explorer.tile_picture import TilePicture


def test_saved_files_lead_back_to_their_view(open_page, request):
    page = open_page(f"#model=digits&steps=2&level=4&at={between(4, 9, 8)}&layer=margin")
    finish(page)
    address = "#" + page.url.partition("#")[2]
    files = {name: saved(page, name).read_bytes() for name in ("picture", "poster", "cells")}
    with Image.open(io.BytesIO(files["picture"])) as picture:
        picture.load()
        assert picture.text["denoscope"] == address
        box = page.locator("#map").bounding_box()
        assert picture.size == (round(2 * box["width"]), round(2 * box["height"]))
    request.getfixturevalue("no_tiles")
    page.click("#open-settings")
    for name, content in files.items():
        page.click("#home")
        page.wait_for_url(re.compile("level=0&"))
        if name == "poster":
            drop(page, content, "view.svg")
        else:
            page.set_input_files(
                "#image-file", {"name": name, "mimeType": "application/octet-stream", "buffer": content}
            )
        expect(page.locator("#level")).to_contain_text("level 4 ")
        assert "#" + page.url.partition("#")[2] == address


@pytest.mark.usefixtures("no_tiles")
def test_dropped_bookmarks_open_their_view_or_their_list(open_page):
    page = open_page("#model=digits&steps=2&level=3&at=1.0,2.0")
    one, other = ({"name": f"level {k}", "address": f"#model=digits&steps=2&level={k}"} for k in (1, 5))
    drop(page, json.dumps({"denoscope": "bookmarks", "bookmarks": [one]}).encode(), "one.json")
    page.wait_for_url(re.compile("level=1&"))
    assert page.locator("#bookmarks").is_hidden()
    drop(page, json.dumps({"denoscope": "bookmarks", "bookmarks": [one, other]}).encode(), "two.json")
    page.wait_for_selector("#bookmarks li >> nth=1")
    assert page.locator("#bookmarks li a span").all_inner_texts() == ["level 1", "level 5"]
    assert "level=1&" in page.url


@pytest.mark.usefixtures("no_tiles")
def test_a_dropped_text_without_an_address_is_refused_and_nothing_of_it_is_used(open_page):
    page = open_page("#model=digits&steps=2&level=3&at=1.0,2.0")
    before, address = page.url, "#model=digits&amp;steps=2&#38;level=6&#x26;at=2.0,1.0"
    texts = {
        "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg'><desc>a circle</desc></svg>",
        "cut.svg": f"<svg><desc>{address}",
        "scene.svg": "<svg><desc>#level=6</desc></svg>",
        "long.svg": f"<svg><desc>#model={'d' * 9000}</desc></svg>",
        "page.html": "<!doctype html><p>text</p>",
        "list.json": "[1, 2]",
        "cut.json": '{"denoscope": "cells"',
        "deep.json": "[" * 100_000,
        "cells.json": '{"denoscope": "cells", "address": "javascript:alert(1)"}',
        "none.json": '{"denoscope": "bookmarks", "bookmarks": [{"name": "n", "address": "x"}]}',
    }
    for name, text in texts.items():
        drop(page, text.encode(), name)
        page.wait_for_selector(f"#message:has-text('{name} holds no link to a view')")
        assert page.url == before and page.inner_text("#message").count("\n") == 0
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(2 ** 24 + 1).fill(60)], "large.svg"));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }"""
    )
    page.wait_for_selector("#message:has-text('large.svg is larger than 16 MiB')")
    live = f"""\ufeff <?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="window.ran = 1">
      <style>body {{ display: none }}</style><script>window.ran = 1</script>
      <image href="http://example.org/x.png" width="9" height="9"/><desc id="d"> {address} </desc></svg>"""
    drop(page, live.encode(), "live.svg")
    expect(page.locator("#level")).to_contain_text("level 6 ")
    assert not page.evaluate("window.ran") and page.locator("#map").is_visible()


def test_a_saved_page_works_from_disk_without_a_server(open_page, browser, tmp_path, monkeypatch):
    monkeypatch.setattr(exported_view, "LARGEST", 850_000)  # some of its points do not fit
    page = open_page("#model=digits&steps=2&level=1&at=0,0&a=1.0,1.0@1&b=1.1,-2.0@0&layers=mid_block")
    page.wait_for_selector("#pair:not([hidden])")
    finish(page)
    path = saved(page, "page").rename(tmp_path / "view.html")
    assert path.stat().st_size < 850_000
    note = page.inner_text("#work").removeprefix("page saved: ")
    assert re.fullmatch("sequences of [0-9]+ of 96 points, to stay below 10 MB", note)
    context, troubles = browser.new_context(viewport={"width": 480, "height": 420}, offline=True), []
    alone = context.new_page()
    alone.set_default_timeout(WAIT)
    alone.on("pageerror", lambda error: troubles.append(str(error)))
    alone.on("console", lambda message: troubles.append(message.text))
    alone.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else troubles.append(request.url)
        ),
    )
    alone.goto(path.as_uri())
    alone.wait_for_selector("body[data-state=open]")
    finish(alone)
    assert alone.inner_text("#scene-summary").endswith(f" · {note}")
    assert "level=1" in alone.url and not alone.locator("#open-settings").is_visible()
    assert alone.inner_text("#level").endswith("the last level of this page")
    assert color_at(alone, 20, 30) == color_at(page, 20, 30)
    alone.wait_for_selector("#point:not([hidden])")
    assert alone.inner_text("#point-facts") == page.inner_text("#point-facts")
    alone.wait_for_selector("#pair:not([hidden])")
    assert alone.inner_text("#pair-facts") == page.inner_text("#pair-facts")
    captions = [one.inner_text("#layers figcaption") for one in (page, alone)]
    assert captions[0] == captions[1] and captions[0].startswith(
        "mid_block in step 2: the first 16 of 32 channels"
    )
    assert alone.inner_text("#curves") == page.inner_text("#curves") == "x_t\nmid_block"
    alone.click("#open-help")
    assert "works without a server" in alone.inner_text("#help") and "Compare" not in alone.inner_text(
        "#help"
    )
    alone.keyboard.press("Escape")
    chosen = {name: address_of(page)[name] for name in ("a", "b")}
    assert {name: address_of(alone)[name] for name in chosen} == chosen
    x, y = middle_of(alone)
    alone.mouse.click(x + 20, y + 30)
    alone.wait_for_function("chosen => !location.hash.includes(chosen)", arg=f"a={chosen['a']}")
    label = int(alone.inner_text("#point-title").removeprefix("Becomes "))
    cell = address_of(alone)["a"]
    live = open_page(f"#model=digits&steps=2&level=1&a={cell}")
    live.wait_for_selector("#point:not([hidden])")
    assert live.inner_text("#point-title") == f"Becomes {label}"
    assert live.inner_text("#point-facts") == alone.inner_text("#point-facts")
    assert alone.locator("#pair").is_hidden() and "b" not in address_of(alone)
    alone.keyboard.down("Shift")
    alone.mouse.click(x - 60, y + 30)
    alone.keyboard.up("Shift")
    alone.wait_for_function("cell => !location.hash.includes(cell)", arg=f"a={cell}")
    assert "b" not in address_of(alone), "the page compares no other points"
    alone.locator("#map").focus()
    alone.keyboard.press("-")
    alone.wait_for_url(re.compile("level=0&"))
    finish(alone)
    context.close()
    assert not troubles


def test_a_saved_page_fills_a_window_of_full_size_and_shows_plainly_what_it_does_not_hold(
    explorer, browser, tmp_path, monkeypatch
):
    filled = TilePicture(np.full((4, CELLS, CELLS), 2, np.uint8), finished=True)
    monkeypatch.setattr(Atlas, "fine", lambda _, tiles: ((tile, filled) for tile in tiles))
    monkeypatch.setattr(exported_view, "COLUMNS", 2)
    monkeypatch.setattr(exported_view, "ROWS", 1)
    scene = Scene("digits", steps=2)
    *_, file = explorer.session.saved(scene, f"#model=digits&steps=2&level=5&at={between(5, 15, 18)}")
    (tmp_path / "view.html").write_bytes(file.content)
    context, troubles = browser.new_context(viewport={"width": 1920, "height": 1080}, offline=True), []
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto((tmp_path / "view.html").as_uri())
    page.wait_for_selector("body[data-state=open]")

    first = address_of(page)["at"]
    assert [float(text) for text in first.split(",")] == pytest.approx(
        [float(text) for text in between(5, 15, 18).split(",")], abs=1e-4
    )
    assert absences(page) == []
    page.locator("#map").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_url(lambda url: first not in url)
    assert absences(page) == [], "the map ends where the tiles do"
    page.keyboard.press("-")
    page.wait_for_url(re.compile("level=4&"))
    assert set(absences(page)) == {"not exported"}
    assert page.locator("#failure").is_hidden() and page.locator("canvas.failed").count() == 0
    x, y = middle_of(page)
    page.mouse.move(x - 780, y)
    assert page.inner_text("#cursor").endswith("not exported")
    page.keyboard.press("+")
    page.wait_for_url(re.compile("level=5&"))
    assert absences(page) == []
    context.close()
    assert not troubles
