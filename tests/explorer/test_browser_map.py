"""The map in a real browser: its first view, zooming by keys, new anchors, and exact addresses."""

import random
import re

import numpy as np
import pytest
from page_actions import address_of, between, color_at, finish, go, middle_of, pick, rgba
from playwright.sync_api import expect

from denoscope.explorer.coordinates import text_of
from denoscope.explorer.layer_colors import LAYERS
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import CellAddress
from denoscope.explorer.view_address import scene_of


def test_the_first_view_shows_the_plane_and_a_click_its_label(open_page, explorer):
    page = open_page()
    finish(page)
    assert "token" not in page.url and address_of(page)["model"] == "digits"
    assert "side 18" in page.inner_text("#scene-summary") and page.inner_text("#ruler-text") == "2"
    pick(page, 90, 50)
    label = int(page.inner_text("#point-title").removeprefix("Becomes "))
    assert color_at(page, 90, 50) == rgba(explorer.session.colors[label])
    assert page.locator(".pin").inner_text() == "A"


@pytest.mark.usefixtures("no_tiles")
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
    page.get_by_role("button", name="Zoom in").press("Enter")
    page.wait_for_url(re.compile("level=6"))
    page.get_by_role("button", name="Zoom out").press("Enter")
    page.wait_for_url(re.compile("level=5"))
    assert "a" not in address_of(page), "Enter on a button picks no point"
    page.locator("#map").focus()
    page.keyboard.press("Control+p")
    assert page.locator("#reticle").is_visible()
    expect(page.locator("#cursor")).to_contain_text(" · no class")
    place = page.inner_text("#cursor").partition(" · ")[0].removeprefix("(u, v) = ")
    assert [float(x) for x in place.strip("()").split(",")] == pytest.approx([u, v], abs=1e-3)
    said = page.locator("#announcement[role=status]")
    assert said.inner_text() == ""
    with page.expect_response(re.compile("/api/point")):
        page.keyboard.press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    assert re.match(r"Becomes \d\. \(u, v\) = .* · confidence [01]\.\d+", said.inner_text())
    at = [float(x) for x in address_of(page)["a"].split("@")[0].split(",")]
    assert at == pytest.approx([u, v], abs=18 / 64 / 2**5)


def test_what_is_said_about_the_place_under_a_pointer_at_rest_follows_the_map(open_page, explorer):
    """The map moves below the pointer by an address and by the wheel, and its tiles arrive later."""
    page = open_page("#model=digits&steps=2&level=3&at=1.0,1.0")
    finish(page)
    x, y = middle_of(page)
    page.mouse.move(x + 90, y + 50)
    for address in ("#model=digits&steps=2&level=5&at=-3,2.5", "#model=digits&steps=2&level=4&at=4,-4"):
        go(page, address)
        finish(page)
        check_cursor(page, explorer.session.colors)
    before = page.inner_text("#cursor")
    page.mouse.wheel(0, -300)
    page.wait_for_url(re.compile("level=(5|6|7)&"))
    finish(page)
    check_cursor(page, explorer.session.colors)
    places = [
        np.array(re.findall(r"-?[0-9.]+", text)[:2], float) for text in (before, page.inner_text("#cursor"))
    ]
    np.testing.assert_allclose(*places, atol=18 / 256 / 2**4)


def check_cursor(page, colors):
    """The place under the pointer and its class are those that the map shows there."""
    text = page.inner_text("#cursor")
    place, label = re.match(r"\(u, v\) = \((.*)\) · class (\d)", text).groups()
    shown, pixel = address_of(page), 18 / 256 / 2 ** int(address_of(page)["level"])
    u, v = (float(middle) for middle in shown["at"].split(","))
    np.testing.assert_allclose(
        np.array(place.split(","), float), (u + 90 * pixel, v - 50 * pixel), atol=pixel
    )
    assert color_at(page, 90, 50) == rgba(colors[int(label)])


@pytest.mark.usefixtures("no_tiles")
def test_the_mouse_drags_and_zooms_and_the_middle_stays_within_the_plane(open_page):
    page = open_page("#model=digits&steps=2&level=3&at=1.0,1.0")
    (x, y), pixel = middle_of(page), 18 / 256 / 2**3

    def drag(right, down):
        before = page.url
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + right, y + down, steps=4)
        page.mouse.up()
        page.wait_for_url(lambda url: url != before)
        return [float(text) for text in address_of(page)["at"].split(",")]

    u, v = drag(-64, 32)
    assert u >= 1 + 63 * pixel and v >= 1 + 31 * pixel, "what is let go moves on a little"
    assert page.locator("#reticle").is_hidden(), "what is said is about the pointer, not the middle"
    page.mouse.move(x + 50, y - 40)
    place = [float(text) for text in re.findall(r"-?[0-9.]+", page.inner_text("#cursor"))[:2]]
    page.mouse.wheel(0, -100)
    page.wait_for_url(re.compile("level=4&"))
    page.mouse.move(x + 51, y - 40)
    after = [float(text) for text in re.findall(r"-?[0-9.]+", page.inner_text("#cursor"))[:2]]
    assert after == pytest.approx(place, abs=2 * pixel), "the place under the pointer stays there"

    go(page, "model=digits&steps=2&level=3&at=8.8,-8.9")
    drag(-150, -150)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.mouse.move(x + 100, y + 100)  # outside of the plane
    page.mouse.wheel(0, -100)
    page.wait_for_url(re.compile("level=4&"))
    assert [float(text) for text in address_of(page)["at"].split(",")] == [9, -9]
    again = open_page("#" + page.url.partition("#")[2])
    assert address_of(again) == address_of(page)
    boxes = [one.locator("canvas[data-tile='4/15/0']").bounding_box() for one in (page, again)]
    assert boxes[0] == boxes[1]


def test_zooming_goes_on_beyond_a_new_anchor(open_page, explorer):
    """From level 19 the same place stays in the middle; a cell of level 22 and its colour agree; its link is restored."""
    page = open_page(f"#model=digits&steps=2&level=19&at={between(22, 2384000, 1551000)}")
    page.locator("#map").focus()
    start = [float(x) for x in address_of(page)["at"].split(",")]
    for level in range(20, 23):
        page.keyboard.press("+")
        page.wait_for_url(re.compile(f"level={level}&"))
    assert [float(x) for x in address_of(page)["at"].split(",")] == pytest.approx(start, abs=18 / 256 / 2**19)
    finish(page)
    pick(page, 30, -40)
    label = int(page.inner_text("#point-title").removeprefix("Becomes "))
    assert color_at(page, 30, -40) == rgba(explorer.session.colors[label])
    cell = address_of(page)["a"]
    assert cell.endswith("@22") and "float64" in page.inner_text("#point-facts")
    link = page.url.partition("#")[2]
    again = open_page(f"#{link}")
    again.wait_for_selector("#point:not([hidden])")
    assert again.url.partition("#")[2] == link


@pytest.mark.usefixtures("no_tiles")
def test_a_view_of_more_tiles_than_a_request_may_hold_is_complete(open_page):
    page = open_page("#model=digits&steps=2")
    left, asked = page.evaluate(
        """async () => {
          const { TileStore, LABELS } = await import("/tile_store.js");
          const left = [];
          const store = new TileStore({ onTile: () => {}, onWork: (count, error) => left.push(error ?? count) });
          store.enter({ model: "digits", steps: "2" });
          const keys = Array.from({ length: 200 }, (_, k) => `4/${k % 16}/${Math.floor(k / 16)}`);
          await store.want(keys, LABELS);
          return [left, keys.filter((key) => store.get(key)?.finished).length];
        }"""
    )
    assert left == list(range(200, -1, -1)) and asked == 200


@pytest.mark.usefixtures("no_tiles")
def test_zooming_ends_at_the_floor_of_the_precision(open_page):
    page = open_page("#model=digits&steps=2&level=64&at=1.0,1.0")
    assert "float64 · the last level that it resolves" in page.inner_text("#level")
    page.locator("#map").focus()
    before = address_of(page)
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: before["at"] not in url)
    assert address_of(page)["level"] == before["level"]


@pytest.mark.usefixtures("no_tiles")
def test_zooming_out_returns_to_the_whole_plane(open_page):
    page = open_page("#model=digits&steps=2&level=23&at=1.0,1.0")
    page.locator("#map").focus()
    for level in range(22, 11, -1):
        page.keyboard.press("-")
        page.wait_for_url(re.compile(f"level={level}&"))
    assert [float(x) for x in address_of(page)["at"].split(",")] == pytest.approx([1.0, 1.0], abs=1e-4)
    page.set_viewport_size({"width": 1100, "height": 800})
    page.wait_for_function("() => document.getElementById('map').clientWidth > 700")
    area, *tiles = page.evaluate(  # all within one frame, in which the map also changes its size
        """() => {
          document.getElementById("panel").style.width = "500px";
          document.getElementById("home").click();
          return [...document.querySelectorAll("#map, [data-tile^='1/']")].map((one) => one.getBoundingClientRect().toJSON());
        }"""
    )
    assert address_of(page)["level"] == "1" and len(tiles) == 4  # at level 1 the plane has 512 pixels
    for box in tiles:
        assert area["left"] <= box["left"] and box["right"] <= area["right"]
        assert area["top"] <= box["top"] and box["bottom"] <= area["bottom"]


def random_scene(draw):
    """A scene with some of its fields."""
    seeds = draw.sample(range(2**63 - 1), 5)
    fields = {
        "scheduler": draw.choice(["DDIMScheduler", "a b+c&d=e#f%2C"]),
        "clip_sample": draw.random() < 0.5,
        "steps": draw.randrange(1, 1001),
        "base_seed": seeds[0],
        "direction_seeds": (seeds[1], seeds[2]),
        "geometry": "flat",
        "length": draw.choice(["18", "0.5", "58.25"]),
        "dtype": "float64",
        "lanes": 32,
        "noise_seed": seeds[3],
        "reject": True,
        "image_level": "0.45",
        **draw.choice([{"image": "AZ_-" * 16}, {"through": tuple(seeds[2:])}]),
    }
    return Scene(
        draw.choice(["digits", "ü/é @1"]),
        **{k: v for k, v in fields.items() if draw.random() < 0.5},
        **draw.choice([{}, {"labels": (3,)}, {"labels": (7,), "guidance_scale": 2.5}]),
    )


@pytest.mark.usefixtures("no_tiles")
def test_addresses_are_restored_exactly_and_agree_with_the_server(open_page):
    """Random scenes and views: address → view → address; and coordinates as text beside those in Python's fractions."""
    page, draw = open_page(), random.Random(3)
    cells = [CellAddress(k % 50, *(draw.randrange(64 * 2 ** (k % 50)) for _ in "ij")) for k in range(200)]
    scenes = [random_scene(draw) for _ in cells]
    views = [
        {
            "layer": draw.choice(LAYERS),
            "opacity": draw.randrange(1, 11) / 10,
            "step": draw.choice([None, 0, 3, 1000]),
            "shown": draw.choice([[], ["a.b"], ["down_blocks.0", "mid_block"]]),
        }
        for _ in cells
    ]
    found = page.evaluate(
        """async ([cells, scenes, views]) => {
          const { addressOf, viewOf, sceneOf, cellText } = await import("/view_state.js");
          const { positionOfCell, BITS } = await import("/exact.js");
          const same = (one, other) => one === other || ["level", "i", "j"].every((name) => one?.[name] === other?.[name]);
          return cells.map(([level, i, j], k) => {
            const length = scenes[k].length ?? "18";
            const cell = { level, i: BigInt(i), j: BigInt(j) };
            const spare = BigInt(k % 5) << (BITS - 20n - BigInt(level));
            const center = [cell.i, cell.j].map((index) => positionOfCell(index, level) + spare);
            const other = [null, { level, i: cell.j, j: cell.i }, { level: level + 3, i: 8n * cell.i + 1n, j: 8n * cell.j + 7n }][k % 3];
            const view = { level, center, points: [cell, other], ...views[k] };
            const address = addressOf(scenes[k], view, length);
            const restored = viewOf(address, { length, deepest: 60 });
            const { layer, opacity, step, shown, misread } = restored;
            return { text: cellText(cell, length), address, again: addressOf(sceneOf(address), restored, length),
              same: restored.points.map((point, n) => same(point, view.points[n])), view: { layer, opacity, step, shown }, misread };
          });
        }""",
        [
            [[cell.level, str(cell.i), str(cell.j)] for cell in cells],
            [scene.fields for scene in scenes],
            views,
        ],
    )
    for cell, scene, view, one in zip(cells, scenes, views, found, strict=True):
        assert one["text"] == text_of(cell, scene.length or "18")
        assert one["again"] == one["address"] and one["view"] == view
        assert one["same"] == [True, True] and one["misread"] == []
        assert scene_of(one["address"]) == scene


def test_the_middle_of_the_view_stays_where_it_is_while_panels_open(open_page):
    page = open_page("#model=digits&steps=2&level=0&at=1.0,0.5", width=800, height=500)

    def from_middle():
        tile, (x, y) = page.locator("canvas[data-tile='0/0/0']").bounding_box(), middle_of(page)
        return [tile["x"] - x, tile["y"] - y]

    before, place = address_of(page), from_middle()
    top = page.locator("#map").bounding_box()["y"]
    page.click("#open-settings")
    page.click("#open-bookmarks")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator("#map").bounding_box()["y"] > top + 50
    assert address_of(page) == before and from_middle() == pytest.approx(place, abs=1)
