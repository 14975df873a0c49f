"""Chosen noises in a real browser: steps, layers, a second point, and recordings."""

import itertools
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from page_actions import address_of, color_at, finish, go, middle_of, pick, rgba, saved

import denoscope as ds
from denoscope.explorer.job_queue import DONE, Job
from denoscope.explorer.tile_address import CELLS
from denoscope.explorer.tile_picture import TilePicture


@pytest.mark.usefixtures("no_tiles")
def test_the_slider_and_play_show_each_step(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    assert "x_0" in page.inner_text("#state-caption")
    writes = page.evaluate(
        """async () => {
          let count = 0;
          const write = history.replaceState;
          history.replaceState = (...given) => { count += 1; write.apply(history, given); };
          const slider = document.getElementById("step");
          for (let k = 0; k < 300; k += 1) {
            slider.value = String(k % 3 === 2 ? 1 : 2 * (k % 3));
            slider.dispatchEvent(new Event("input"));
          }
          while (!location.hash.includes("step=1")) await new Promise((done) => setTimeout(done, 20));
          history.replaceState = write;
          return count;
        }"""
    )
    assert writes <= 3, "browsers limit how often a page changes its address"
    page.locator("#step").focus()
    page.keyboard.press("Home")
    assert "x_T" in page.inner_text("#state-caption")
    page.wait_for_url(re.compile("step=0"))
    noise = page.locator("#state").evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("ArrowRight")
    assert "step 1" in page.inner_text("#state-caption")
    assert page.locator("#state").evaluate("canvas => canvas.toDataURL()") != noise
    page.click("#play")
    page.wait_for_selector("#play[aria-pressed=false]")
    assert "x_0" in page.inner_text("#state-caption")
    assert page.locator(".bar").count() == 10


@pytest.mark.usefixtures("no_tiles")
def test_the_panel_says_that_it_waits_for_the_chosen_noise(open_page):
    page = open_page("#model=digits&steps=2")
    page.route("**/api/point*", lambda _: None)  # no answer
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel[aria-busy]")
    content = "() => getComputedStyle(document.getElementById('panel-hint'), '::after').content"
    assert page.evaluate(content) == '" Computing …"'
    page.unroute("**/api/point*")
    pick(page, 20, 40)
    page.wait_for_selector("#point:not([hidden])")
    assert page.evaluate(content) == "none"


@pytest.mark.usefixtures("no_tiles")
def test_states_of_a_layer_appear_and_are_part_of_the_link(open_page):
    page = open_page("#model=digits&steps=2&a=1.0,1.0@2")
    page.wait_for_selector("#point:not([hidden])")
    page.select_option("#add-layer", "mid_block")
    page.wait_for_selector("#layers figure")
    assert "mid_block" in page.inner_text("#layers") and address_of(page)["layers"] == "mid_block"
    page.locator("#layers button").press("Enter")
    page.wait_for_selector("#layers figure", state="detached")
    assert "layers" not in address_of(page) and page.evaluate("document.activeElement.id") == "add-layer"


@pytest.mark.usefixtures("no_tiles")
def test_a_second_point_is_compared_with_the_first(open_page):
    page = open_page("#model=digits&steps=2&level=3&a=1.0,1.0@3")
    page.wait_for_selector("#point:not([hidden])")
    page.keyboard.down("Shift")
    pick(page, 60, 40)
    page.keyboard.up("Shift")
    page.wait_for_selector("#pair:not([hidden])")
    strip = page.evaluate("""() => {
      const { data } = document.getElementById("path").getContext("2d").getImageData(0, 0, 64, 1);
      return Array.from({ length: 64 }, (_, k) => data.slice(4 * k, 4 * k + 3).join());
    }""")
    count = sum(one != other for one, other in itertools.pairwise(strip))
    times = {0: "does not change", 1: "changes once", 2: "changes twice"}.get(count, f"changes {count} times")
    facts = page.inner_text("#pair-facts")
    assert re.search(rf"A becomes \d, B \d; the class {times} on the line", facts)
    assert all(
        float(text) in (0.1, 1, 10, 100) for text in page.locator("#separation text").all_text_contents()[:-1]
    )
    assert page.locator("#separation polyline").count() == 1 and page.locator(".pin").all_inner_texts() == [
        "A",
        "B",
    ]
    link = page.url.partition("#")[2]
    again = open_page(f"#{link}")
    again.wait_for_selector("#pair:not([hidden])")
    assert again.inner_text("#pair-facts") == page.inner_text("#pair-facts") and again.url.endswith(link)
    before = address_of(page)
    page.click("#compare")
    assert page.inner_text("#compare") == "Now click the second point"
    pick(page, -40, -60)
    page.wait_for_selector("#pair:not([hidden])")
    after = address_of(page)
    assert after["a"] == before["a"] and after["b"] != before["b"]
    assert page.get_attribute("#compare", "aria-pressed") == "false"
    assert page.inner_text("#compare") == "Compare with …"


def test_a_cell_that_was_filled_with_another_label_is_corrected_and_the_panel_says_so(
    open_page, explorer, monkeypatch
):
    """All cells of the tiles are filled in as 9. Those of level 4 arrive after the click."""
    planes = np.stack([np.full((CELLS, CELLS), byte, np.uint8) for byte in (10, 51, 51, 2)])
    filled, arriving = TilePicture(planes, finished=True), threading.Event()
    few = np.stack([np.full((8, 8), byte, np.uint8) for byte in (10, 51, 51, 1)])
    coarse = TilePicture(few, finished=False).enlarged()

    def tiles(_scene, addresses, report, _kind):
        ready = arriving.is_set() or all(address.level < 4 for address in addresses)
        for address in addresses:
            report((address, filled if ready else coarse))
        if ready:
            report(DONE)
        return [Job(0, list, print)]

    monkeypatch.setattr(explorer.session, "tiles", tiles)
    page = open_page("#model=digits&steps=2&level=3&at=1.0,1.0")
    finish(page)
    assert color_at(page, 30, 30) == rgba(explorer.session.colors[9])
    pick(page, 30, 30)
    label = page.inner_text("#point-title").removeprefix("Becomes ")
    assert label != "9"
    assert color_at(page, 30, 30) == rgba(explorer.session.colors[int(label)])
    assert (
        page.inner_text("#how-known")
        == "The map showed this cell as 9 without computing it; it is corrected now."
    )
    middle = middle_of(page)
    page.mouse.move(middle[0] + 31, middle[1] + 31)
    assert f"· class {label}, confidence" in page.inner_text("#cursor")
    cells = json.loads(saved(page, "cells").read_bytes())
    assert sum(tile["label"].count(int(label)) for tile in cells["tiles"]) == 1
    assert sum(tile["status"].count(1) for tile in cells["tiles"]) == 1

    go(page, page.url.partition("#")[2].replace("level=3", "level=4"))  # the same noise in a finer tile
    page.wait_for_selector("canvas[data-tile='4/8/8'][data-own=true]")
    page.wait_for_selector("canvas[data-tile='4/9/8'][data-own=true]")
    unfinished = json.loads(saved(page, "cells").read_bytes())["tiles"]
    assert [tile["finished"] for tile in unfinished] == [False] * len(unfinished)
    statuses = [tile["status"].count(1) for tile in unfinished]
    assert sorted(statuses)[:-1] == [64] * (len(unfinished) - 1) and max(statuses) in (64, 65)
    assert all(
        (label == -1) == (status == 0)
        for tile in unfinished
        for label, status in zip(tile["label"], tile["status"], strict=True)
    )
    arriving.set()
    page.locator("#map").press("ArrowUp")
    finish(page)
    finer = json.loads(saved(page, "cells").read_bytes())
    assert sum(tile["label"].count(int(label)) for tile in finer["tiles"]) == 1


@pytest.mark.usefixtures("no_tiles")
def test_record_this_writes_a_recording(open_page, explorer):
    page = open_page("#model=digits&steps=2&a=2.0,1.0@2&layers=mid_block")
    page.wait_for_selector("#layers figure")
    page.click("#record")
    page.wait_for_selector("#recorded:has-text('.zarr')")
    path = page.inner_text("#recorded").partition(" (class")[0].removeprefix("recorded in ")
    recording = ds.open(path)
    assert recording["mid_block"].sizes["step"] == 2 and Path(path).parent == explorer.session.recordings
    assert f"class {int(ds.classify(recording.final).label[0])}" in page.inner_text("#recorded")
