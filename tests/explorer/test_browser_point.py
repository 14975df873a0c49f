"""Chosen noises in a real browser: steps, layers, a second point, and recordings."""

import itertools
import re
from pathlib import Path

import pytest
from page_actions import address_of, pick

import denoscope as ds


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
    pick(page, -40, -60)
    page.wait_for_selector("#pair:not([hidden])")
    after = address_of(page)
    assert after["a"] == before["a"] and after["b"] != before["b"]
    assert page.get_attribute("#compare", "aria-pressed") == "false"


@pytest.mark.usefixtures("no_tiles")
def test_record_this_writes_a_recording(open_page, explorer):
    page = open_page("#model=digits&steps=2&a=2.0,1.0@2&layers=mid_block")
    page.wait_for_selector("#layers figure")
    page.click("#record")
    page.wait_for_selector("#recorded:has-text('.zarr')")
    path = page.inner_text("#recorded").partition(" (class")[0]
    recording = ds.open(path)
    assert recording["mid_block"].sizes["step"] == 2 and Path(path).parent == explorer.session.recordings
    assert f"class {int(ds.classify(recording.final).label[0])}" in page.inner_text("#recorded")
