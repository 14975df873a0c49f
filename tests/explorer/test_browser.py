"""The page in a real browser: what it shows, and what a click, a key and a link do."""

import io
import random
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

import denoscope as ds
from denoscope.explorer.coordinates import text_of
from denoscope.explorer.tile_address import CellAddress

SMALL = {"width": 640, "height": 420}
"""The size of pages whose tiles are all computed."""
SETTLED = "body[data-work='0']"


def address_of(page: Page) -> dict[str, str]:
    return dict(part.split("=", 1) for part in page.url.partition("#")[2].split("&"))


def finish(page: Page) -> None:
    """Wait until all tiles in view are finished."""
    page.wait_for_selector("canvas[data-finished=true]")
    page.wait_for_selector(SETTLED)
    assert page.locator("canvas.failed").count() == 0


def middle_of(page: Page) -> tuple[float, float]:
    box = page.locator("#map").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pick(page: Page, right: float, down: float) -> None:
    """Click beside the middle of the map, and wait for the answer."""
    x, y = middle_of(page)
    with page.expect_response(re.compile("/api/point")):
        page.mouse.click(x + right, y + down)
    page.wait_for_selector("#panel:not([aria-busy])")


def color_at(page: Page, right: float, down: float) -> list[int]:
    """The colour of the map beside its middle, from the canvas of the tile there."""
    x, y = middle_of(page)
    return page.evaluate(
        """([x, y]) => {
          const canvas = [...document.querySelectorAll("canvas[data-tile]")].find((tile) => {
            const box = tile.getBoundingClientRect();
            return box.left <= x && x < box.right && box.top <= y && y < box.bottom;
          });
          const box = canvas.getBoundingClientRect();
          const at = [(x - box.left) / box.width * 64, (y - box.top) / box.height * 64].map(Math.floor);
          return [...canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data.slice(0, 3)];
        }""",
        [x + right, y + down],
    )


def test_the_first_view_shows_the_plane_and_a_click_its_label(open_page, explorer):
    page = open_page(**SMALL)
    finish(page)
    assert "token" not in page.url and address_of(page)["model"] == "digits"
    assert "side 18" in page.inner_text("#scene-summary") and page.inner_text("#ruler-text") == "2"
    pick(page, 90, 50)
    label = int(page.inner_text("#point-title").removeprefix("Becomes "))
    color = explorer.session.colors[label]
    assert color_at(page, 90, 50) == [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    assert page.locator(".pin").inner_text() == "A"


def test_the_slider_and_play_show_each_step(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    assert "x_0" in page.inner_text("#state-caption")
    page.locator("#step").focus()
    page.keyboard.press("Home")
    assert "x_T" in page.inner_text("#state-caption") and address_of(page)["step"] == "0"
    noise = page.locator("#state").evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("ArrowRight")
    assert "step 1" in page.inner_text("#state-caption")
    assert page.locator("#state").evaluate("canvas => canvas.toDataURL()") != noise
    page.click("#play")
    page.wait_for_selector("#play[aria-pressed=false]")
    assert "x_0" in page.inner_text("#state-caption")
    assert page.locator(".bar").count() == 10


def test_states_of_a_layer_appear_and_are_part_of_the_link(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    page.select_option("#add-layer", "mid_block")
    page.wait_for_selector("#layers figure")
    assert "mid_block" in page.inner_text("#layers") and address_of(page)["layers"] == "mid_block"
    page.click("#layers button")
    page.wait_for_selector("#layers figure", state="detached")
    assert "layers" not in address_of(page)


def test_a_second_point_is_compared_with_the_first(open_page):
    page = open_page("#model=digits&steps=2&level=3&a=1.0,1.0@3", **SMALL)
    page.wait_for_selector("#point:not([hidden])")
    page.keyboard.down("Shift")
    pick(page, 60, 40)
    page.keyboard.up("Shift")
    page.wait_for_selector("#pair:not([hidden])")
    assert re.search(r"A becomes \d, B \d; the class changes \d+ times", page.inner_text("#pair-facts"))
    assert page.locator("#separation polyline").count() == 1 and page.locator(".pin").all_inner_texts() == [
        "A",
        "B",
    ]
    link = page.url.partition("#")[2]
    again = open_page(f"#{link}", **SMALL)
    again.wait_for_selector("#pair:not([hidden])")
    assert again.inner_text("#pair-facts") == page.inner_text("#pair-facts") and again.url.endswith(link)


def test_record_this_writes_a_recording(open_page, explorer):
    page = open_page("#model=digits&steps=2&a=2.0,1.0@2&layers=mid_block", **SMALL)
    page.wait_for_selector("#layers figure")
    page.click("#record")
    page.wait_for_selector("#recorded:has-text('.zarr')")
    path = page.inner_text("#recorded").partition(" (class")[0]
    recording = ds.open(path)
    assert recording["mid_block"].sizes["step"] == 2 and Path(path).parent == explorer.session.recordings
    assert f"class {int(ds.classify(recording.final).label[0])}" in page.inner_text("#recorded")


def test_a_saved_picture_leads_back_to_its_view(open_page):
    page = open_page("#model=digits&steps=2&level=4&at=1.0,1.0&layer=margin", **SMALL)
    finish(page)
    with page.expect_download() as saved:
        page.click("#save-picture")
    content = Path(saved.value.path()).read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        address, shape = picture.text["denoscope"], picture.size
    assert address == "#" + page.url.partition("#")[2]
    box = page.locator("#map").bounding_box()
    assert shape == (round(2 * box["width"]), round(2 * box["height"]))
    page.click("#home")
    page.wait_for_url(re.compile("level=2&"))
    page.evaluate(
        """(bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "view.png"));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        list(content),
    )
    page.wait_for_url(re.compile("level=4&"))
    page.wait_for_selector("body[data-state=open]")
    assert "#" + page.url.partition("#")[2] == address


def test_a_saved_page_works_from_disk_without_a_server(open_page, browser, tmp_path):
    page = open_page("#model=digits&steps=2&level=1&at=0,0", **SMALL)
    finish(page)
    with page.expect_download() as saved:
        page.click("#save-page")
    path = tmp_path / "view.html"
    saved.value.save_as(path)
    assert path.stat().st_size < 10_000_000
    context, troubles = browser.new_context(viewport={"width": 640, "height": 420}, offline=True), []
    alone = context.new_page()
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
    assert "level=1" in alone.url and not alone.locator("#open-settings").is_visible()
    assert color_at(alone, 20, 30) == color_at(page, 20, 30)
    x, y = middle_of(alone)
    alone.mouse.click(x + 20, y + 30)
    alone.wait_for_selector("#point:not([hidden])")
    label = int(alone.inner_text("#point-title").removeprefix("Becomes "))
    cell = address_of(alone)["a"]
    live = open_page(f"#model=digits&steps=2&a={cell}", **SMALL)
    live.wait_for_selector("#point:not([hidden])")
    assert live.inner_text("#point-title") == f"Becomes {label}"
    assert live.inner_text("#point-facts") == alone.inner_text("#point-facts")
    alone.locator("#map").focus()
    alone.keyboard.press("-")
    alone.wait_for_url(re.compile("level=0&"))
    finish(alone)
    context.close()
    assert not troubles


def test_the_keyboard_moves_zooms_and_picks(open_page):
    page = open_page("#model=digits&steps=2&level=4&at=1.0,1.0")
    page.locator("#map").focus()
    page.keyboard.press("+")
    page.wait_for_url(re.compile("level=5"))
    before = address_of(page)["at"]
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: f"at={before}" not in url)
    (u, v), (u_before, v_before) = (map(float, at.split(",")) for at in (address_of(page)["at"], before))
    assert u > u_before and v == pytest.approx(v_before, abs=0.01)
    assert page.locator("#reticle").is_visible()
    with page.expect_response(re.compile("/api/point")):
        page.keyboard.press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    at = [float(x) for x in address_of(page)["a"].split("@")[0].split(",")]
    assert at == pytest.approx([u, v], abs=18 / 64 / 2**5)


def test_a_link_restores_view_layer_point_and_step(open_page):
    fragment = "#model=digits&steps=2&level=5&at=1.234567,-2.345678&layer=margin&opacity=0.5&a=1.2500,-2.3203@5&step=1"
    page = open_page(fragment, **SMALL)
    page.wait_for_selector("#point:not([hidden])")
    finish(page)
    first = address_of(page)
    assert page.input_value("#layer") == "margin" and page.input_value("#opacity") == "0.5"
    assert "step 1" in page.inner_text("#state-caption")
    again = open_page("#" + page.url.partition("#")[2], **SMALL)
    again.wait_for_selector("#point:not([hidden])")
    finish(again)
    assert address_of(again) == first and {k: first[k] for k in ("level", "layer", "opacity", "step")} == {
        "level": "5", "layer": "margin", "opacity": "0.5", "step": "1",
    }  # fmt: skip
    assert again.inner_text("#point-facts") == page.inner_text("#point-facts")
    images = [p.locator("#map").screenshot() for p in (page, again)]
    assert images[0] == images[1]


def test_zooming_goes_on_beyond_new_anchors_to_the_floor(open_page, explorer):
    """From level 19 the same place stays in the middle; a cell of level 24 and its colour agree; the floor is marked."""
    page = open_page("#model=digits&steps=2&level=19&at=1.23456789012,-2.34567890123", **SMALL)
    page.locator("#map").focus()
    start = [float(x) for x in address_of(page)["at"].split(",")]
    for level in range(20, 25):
        page.keyboard.press("+")
        page.wait_for_url(re.compile(f"level={level}&"))
    assert [float(x) for x in address_of(page)["at"].split(",")] == pytest.approx(start, abs=18 / 256 / 2**19)
    finish(page)
    pick(page, 30, -40)
    label = int(page.inner_text("#point-title").removeprefix("Becomes "))
    color = explorer.session.colors[label]
    assert color_at(page, 30, -40) == [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    cell = address_of(page)["a"]
    assert cell.endswith("@24") and "float64" in page.inner_text("#point-facts")
    link = page.url.partition("#")[2]
    again = open_page(f"#{link}")
    again.wait_for_selector("#point:not([hidden])")
    assert again.url.partition("#")[2] == link
    bottom = open_page("#model=digits&steps=2&level=64&at=1.0,1.0")
    assert "precision floor" in bottom.inner_text("#level")
    bottom.locator("#map").focus()
    level = address_of(bottom)["level"]
    bottom.keyboard.press("+")
    bottom.wait_for_timeout(300)
    assert address_of(bottom)["level"] == level


def test_zooming_out_returns_to_the_whole_plane(open_page):
    page = open_page("#model=digits&steps=2&level=23&at=1.0,1.0")
    page.locator("#map").focus()
    for level in range(22, 11, -1):
        page.keyboard.press("-")
        page.wait_for_url(re.compile(f"level={level}&"))
    assert [float(x) for x in address_of(page)["at"].split(",")] == pytest.approx([1.0, 1.0], abs=1e-4)
    page.keyboard.press("Home")
    page.wait_for_url(re.compile("level=2&"))


def test_addresses_are_restored_exactly_and_agree_with_the_server(open_page):
    """Random views: address → view → address; and coordinates as text beside those in Python's fractions."""
    page, draw = open_page(), random.Random(3)
    cells = [CellAddress(k % 50, *(draw.randrange(64 * 2 ** (k % 50)) for _ in "ij")) for k in range(200)]
    lengths = [draw.choice(["18", "0.5", "58.25"]) for _ in cells]
    found = page.evaluate(
        """async ([cells, lengths]) => {
          const { addressOf, viewOf, cellText } = await import("/view_state.js");
          const { positionOfCell, BITS } = await import("/exact.js");
          return cells.map(([level, i, j], k) => {
            const cell = { level, i: BigInt(i), j: BigInt(j) };
            const spare = BigInt(k % 5) << (BITS - 20n - BigInt(level));
            const center = [cell.i, cell.j].map((index) => positionOfCell(index, level) + spare);
            const view = { level, center, layer: "margin", opacity: 0.5, points: [cell, null], step: 3, shown: ["a.b"] };
            const facts = { length: lengths[k], deepest: 60 };
            const address = addressOf({ model: "digits" }, view, lengths[k]);
            const restored = viewOf(address, facts);
            return [cellText(cell, lengths[k]), address, addressOf({ model: "digits" }, restored, lengths[k]),
              restored.points[0].i === cell.i && restored.points[0].j === cell.j];
          });
        }""",
        [[[cell.level, str(cell.i), str(cell.j)] for cell in cells], lengths],
    )
    for cell, length, (text, address, again, same) in zip(cells, lengths, found, strict=True):
        assert text == text_of(cell, length)
        assert again == address and same


@pytest.mark.parametrize(
    "fragment",
    [
        "#model=digits&steps=2&level=99999999999&at=1e400,NaN",
        "#model=digits&steps=2&level=-3&at=999999,5",
        "#model=digits&steps=2&at=%3Cscript%3E&layer=x&opacity=9&a=1,2@77&b=,@&step=-1",
        "#model=digits&steps=2&at=" + "9" * 3000,
    ],
)
def test_absurd_numbers_of_a_link_are_replaced(open_page, fragment):
    page = open_page(fragment)
    page.wait_for_selector("canvas[data-tile]")
    assert re.fullmatch(r"-?[0-9.]+,-?[0-9.]+", address_of(page)["at"])


def test_a_link_that_cannot_be_shown_says_why(browser, explorer):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{explorer.gate.link}#model=somebody/elses&steps=2")
    page.wait_for_selector("body[data-state=failed]")
    assert "denoscope explore somebody/elses" in page.inner_text("#message")
    page.goto(f"{explorer.gate.link}#model=digits&steps=0")
    page.wait_for_selector("body[data-state=failed]")
    page.wait_for_selector("#message:has-text('steps')")
    context.close()


def test_without_the_token_the_page_says_what_to_open(browser, explorer):
    context = browser.new_context()
    page = context.new_page()
    page.goto(explorer.address)
    page.wait_for_selector("body[data-state=failed]")
    assert "token" in page.inner_text("#message")
    context.close()


def test_settings_open_another_scene(open_page):
    page = open_page("#model=digits&steps=2")
    page.click("#open-settings")
    page.fill("[name=length]", "8")
    page.select_option("[name=geometry]", "flat")
    page.click("#settings button[type=submit]")
    page.wait_for_selector("#scene-summary:has-text('flat plane of side 8')")
    assert address_of(page)["length"] == "8" and address_of(page)["geometry"] == "flat"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_has_everything_in_its_width(open_page, scheme):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2", width=400, height=800, color_scheme=scheme)
    page.wait_for_selector("#point:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 384) == (scheme == "dark")
    assert page.locator("#map").bounding_box()["height"] > 300


def test_controls_have_names(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=img]")].filter((item) =>
          !item.closest("[hidden]") && !item.labels?.length && !item.getAttribute("aria-label") && !item.textContent.trim()
        ).map((item) => item.outerHTML)"""
    )
    assert nameless == []
