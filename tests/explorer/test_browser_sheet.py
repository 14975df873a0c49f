"""The sheet of a recording in a real browser: grid, filter, samples step by step, and links."""

import functools
import re
from contextlib import contextmanager

import numpy as np
import pytest
from explorer_pages import Running, served
from page_actions import address_of, check_narrow, go, nameless

import denoscope as ds
from denoscope.config import SystemConfig
from denoscope.explorer.server.sheet_application import sheet_application
from denoscope.explorer.sheets.sheet_session import SheetSession
from denoscope.figures.sheets.sheet import Sheet
from denoscope.figures.sheets.sheet_labels import SheetLabels

SMALL = {"width": 800, "height": 500}
COUNT = 100


@pytest.fixture(scope="module")
def recording(tmp_path_factory, digits):
    """A hundred samples of `digits` in two steps, more than a page shows."""
    path = tmp_path_factory.mktemp("sheet") / "run.zarr"
    noises = ds.noise.random(COUNT, digits.shape, seed=1)
    return ds.record(
        digits,
        noises,
        path,
        steps=2,
        layers=["conv_in", "mid_block"],
        extract_estimates=True,
        batch_size=COUNT,
    )


@contextmanager
def explored_at(path):
    sheet = Sheet.open(path)
    session = SheetSession(sheet, SheetLabels(sheet), SystemConfig.class_colors)
    with served(functools.partial(sheet_application, session)) as gate:
        yield Running(gate)
    session.close()


@pytest.fixture(scope="module")
def explored(recording):
    with explored_at(recording.path) as running:
        yield running


@pytest.fixture
def open_sheet(pages, explored):
    with pages.opening(explored) as opened:
        yield opened


def shown(page):
    """Wait until the chosen samples are shown."""
    page.wait_for_selector("#point:not([hidden])")
    page.wait_for_selector("#panel:not([aria-busy])")


def test_pages_filter_and_a_sample(open_sheet, recording):
    labels = ds.classify(recording.final).label
    page = open_sheet(**SMALL)
    page.wait_for_selector("body[data-labels=digits-cnn]")
    assert page.locator(".sample").count() == 96 and page.inner_text("#range") == "1–96 of 100"
    assert page.url.partition("#")[0].endswith("/sheet") and address_of(page) == {"run": "run.zarr"}
    assert page.locator(".sample .badge").nth(5).inner_text() == str(labels[5])
    page.click("#next")
    page.wait_for_selector("#grid[data-rows='4']")
    assert page.inner_text("#range") == "97–100 of 100" and page.is_disabled("#next")
    assert page.evaluate("document.activeElement.id") == "previous", "a disabled button has no focus"
    rare = int(np.bincount(labels).argmax())
    page.select_option("#label", str(rare))
    count = int((labels == rare).sum())
    page.wait_for_selector(f"#grid[data-rows='{count}']")
    assert page.inner_text("#range") == f"1–{count} of {count}" and address_of(page)["label"] == str(rare)
    assert set(page.locator(".sample .badge").all_inner_texts()) == {str(rare)}
    first = recording.samples[int(np.flatnonzero(labels == rare)[0])]
    page.locator(".sample").first.click()
    shown(page)
    assert page.inner_text("#point-title") == f"{first}: label {rare}" and address_of(page)["sample"] == first
    assert page.locator(".bar").count() == 10 and page.is_visible("#probabilities")
    # The beginning that all names of the page share is left out.
    assert first.endswith(page.inner_text(".sample[data-mark=A] .name") or "nothing")
    page.locator("#step").focus()
    page.keyboard.press("Home")
    assert "x_T" in page.inner_text("#state-caption") and address_of(page)["step"] == "0"
    page.click("#play")
    page.wait_for_selector("#play[aria-pressed=false]")
    assert "x_0" in page.inner_text("#state-caption")


def test_probabilities_of_the_last_step_alone_are_no_curve(pages, digits, tmp_path):
    """Those of the others come from estimates of x_0, which were not recorded."""
    recorded = ds.record(digits, ds.noise.random(2, digits.shape), tmp_path / "run.zarr", steps=2)
    with explored_at(recorded.path) as running, pages.opening(running) as opened:
        page = opened(f"#run=run.zarr&sample={recorded.samples[0]}", **SMALL)
        shown(page)
        assert page.locator(".bar").count() == 10 and page.is_hidden("#probabilities")


def test_the_canvas_of_a_sample_shows_its_final_image(open_sheet, recording):
    page = open_sheet(**SMALL)
    drawn = (
        page.locator(".sample canvas")
        .nth(3)
        .evaluate("canvas => [canvas.width, ...canvas.getContext('2d').getImageData(0, 0, 8, 8).data]")
    )
    image = recording.final[3, 0].to_numpy()
    expected = (image.ravel() / max(1.0, np.abs(image).max()) + 1) * 127.5
    assert drawn[0] == 8
    np.testing.assert_allclose(drawn[1::4], expected, atol=0.51)


def test_a_link_restores_two_samples_with_step_and_layers(open_sheet, recording):
    a, b = recording.samples[7], recording.samples[70]
    fragment = f"#run=run.zarr&sample={a}&other={b}&step=1&layers=mid_block"
    page = open_sheet(fragment, **SMALL)
    shown(page)
    page.wait_for_selector("#pair:not([hidden])")
    assert page.url.endswith(fragment)
    sequence = recording.sequence[[7, 70]].to_numpy().astype(float)
    far = float(f"{np.linalg.norm(sequence[0, 0] - sequence[1, 0]):.3g}")
    one, other = ds.classify(recording.final[[7, 70]]).label
    text = page.inner_text("#pair-facts")
    assert f"A becomes {one}, B {other}" in text and f"x_T are {far:g} apart" in text
    assert page.locator("#separation polyline").count() == 3, "x_t, the estimate and a layer"
    assert page.inner_text("#curves") == "x_t\nx_0_estimate\nmid_block"
    assert "step 1" in page.inner_text("#state-caption") and "mid_block in step 2" in page.inner_text(
        "#layers"
    )
    assert page.locator("#path").evaluate("canvas => [canvas.width, canvas.height]") == [3, 2]
    page.click("#layers button")
    page.wait_for_selector("#layers figure", state="detached")
    assert "layers" not in address_of(page)


def test_the_keyboard_moves_picks_and_compares(open_sheet, recording):
    page = open_sheet(**SMALL)
    page.locator(".sample").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shown(page)
    assert address_of(page)["sample"] == recording.samples[1]
    columns = page.evaluate(
        "() => [...document.querySelectorAll('.sample')].findIndex((cell, _, all) => cell.offsetTop > all[0].offsetTop)"
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("#pair:not([hidden])")
    assert address_of(page)["other"] == recording.samples[1 + columns]
    page.click("#compare")
    page.locator(".sample").nth(5).click()
    assert page.locator(".sample[tabindex='0']").count() == 1
    page.wait_for_url(re.compile(f"other={recording.samples[5]}"))
    assert page.get_attribute("#compare", "aria-pressed") == "false"


def test_a_link_to_another_recording_says_so(open_sheet):
    page = open_sheet("#run=run.zarr", **SMALL)
    page.route("**/api/images*", lambda _: None)  # no answer
    with page.expect_request("**/api/images*"):
        go(page, "#run=run.zarr&page=2")
    with page.expect_event("requestfailed", lambda request: "/api/images" in request.url):
        go(page, "#run=other.zarr")
    page.unroute("**/api/images*")
    assert page.get_attribute("body", "data-state") == "failed", "what was opened before opens no more"
    assert "other.zarr" in page.inner_text("#message") and "run.zarr" in page.inner_text("#message")
    go(page, "#run=run.zarr")
    page.wait_for_selector("body[data-state=open]")
    assert not page.is_visible("#message")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_has_no_sideways_scrolling_and_controls_have_names(open_sheet, recording, scheme):
    fragment = f"#sample={recording.samples[0]}&other={recording.samples[1]}&layers=conv_in"
    page = open_sheet(fragment, width=400, height=800, color_scheme=scheme)
    page.wait_for_selector("#pair:not([hidden])")
    check_narrow(page, scheme)
    assert nameless(page) == []
