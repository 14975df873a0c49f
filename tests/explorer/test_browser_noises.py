"""The user's own noises in a real browser: newly drawn, from an image file, and through three seeds."""

import base64
import io
import re

import numpy as np
import pytest
from explorer_pages import WAIT
from page_actions import address_of, drop, go
from PIL import Image
from playwright.sync_api import Page

ADDED = "text=added to an image"

pytestmark = pytest.mark.usefixtures("no_tiles")


def png_of(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def image_in(page: Page) -> np.ndarray:
    field = address_of(page)["image"]
    return np.frombuffer(base64.urlsafe_b64decode(field + "=" * (-len(field) % 4)), np.uint8).reshape(8, 8)


def test_the_noises_are_added_to_a_dropped_image_that_is_part_of_the_link(open_page):
    page = open_page("#model=digits&steps=2&level=0&through=1,2,3&image_level=0.5")
    assert page.locator(".named").all_inner_texts() == ["1", "2", "3"]
    wide = np.zeros((80, 200), np.uint8)  # its middle square is light on the left
    wide[:, :100] = 255
    drop(page, png_of(wide), "half.png")
    page.wait_for_selector(ADDED)
    image = image_in(page)
    assert (image[:, :3] > 240).all() and (image[:, 5:] < 15).all() and address_of(page)["through"] == "1,2,3"
    assert page.locator(".named").all_inner_texts() == ["1", "2", "3"]
    page.click("#open-settings")
    assert page.locator("#image-preview").is_visible()
    assert "Every noise of the plane is added to the image" in page.inner_text("#settings")
    assert "the last 1 of 2 steps" in page.inner_text("#scene-summary")
    page.locator("#map").press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    page.locator("#step").focus()
    page.keyboard.press("Home")
    assert page.inner_text("#state-caption").startswith("the image with noise")
    assert page.get_attribute("#step", "max") == "1"
    link = page.url.partition("#")[2]
    page.click("#invert-image")
    page.wait_for_url(lambda url: link.partition("image=")[2][:20] not in url)
    assert (image_in(page) == 255 - image).all()
    page.click("#remove-image")
    page.wait_for_selector(ADDED, state="detached")
    again = open_page(f"#{link}")
    again.wait_for_selector(ADDED)
    assert (image_in(again) == image).all()


def test_a_file_is_chosen_with_a_button_and_others_are_refused_in_words(open_page):
    page = open_page("#model=digits&steps=2&level=0")
    before = page.url
    for content, name in (
        (b"no image at all", "notes.txt"),
        (png_of(np.zeros((9, 9), np.uint8))[:40], "cut.png"),
    ):
        drop(page, content, name)
        page.wait_for_selector(f"#message:has-text('{name} is no image')")
        assert page.url == before
    page.click("#open-settings")
    grey = png_of(np.full((20, 20, 4), 128, np.uint8))  # half transparent
    page.set_input_files("#image-file", {"name": "grey.png", "mimeType": "image/png", "buffer": grey})
    page.wait_for_selector(ADDED)
    assert set(image_in(page).ravel()) <= {63, 64, 65} and page.locator("#message").is_hidden()


def test_an_address_that_is_about_to_be_opened_is_not_written_over(open_page):
    """The browser announces an address a moment after it is set; what happens between must not bring the old one back."""
    page = open_page("#model=digits&steps=2&level=0&base_seed=1")
    page.evaluate(
        """() => {
          document.getElementById("new-noise").click();
          document.getElementById("layer").dispatchEvent(new Event("change"));
        }"""
    )
    assert address_of(page)["base_seed"] != "1"
    page.wait_for_url(re.compile("direction_seeds=[0-9]+,.*level="))


def test_new_noise_shows_another_plane_and_back_returns(open_page):
    page = open_page("#model=digits&steps=2&level=0&layer=margin")
    before = page.url
    page.click("#new-noise")
    page.wait_for_url(re.compile("direction_seeds=[0-9]+,.*level="))
    page.wait_for_selector("body[data-state=open]")
    drawn = address_of(page)
    first, second = drawn["direction_seeds"].split(",")
    assert first != second and drawn["layer"] == "margin" and drawn["steps"] == "2"
    page.go_back()
    page.wait_for_url(before)
    page.wait_for_selector("body[data-state=open]")


def test_three_equal_seeds_and_a_malformed_image_are_refused_in_words(browser, explorer):
    context = browser.new_context()  # Chromium writes refused requests into the console
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(f"{explorer.gate.link}#model=digits&steps=2&level=0")
    page.wait_for_selector("body[data-state=open]")
    for part, message in (
        ("through=5,5,6", "three different"),
        ("image=AAAA", "image has 3 bytes"),
        ("image=%3C", "base64url"),
        ("image_level=7", "image_level"),
    ):
        go(page, f"model=digits&steps=2&{part}")
        page.wait_for_selector(f"#message:has-text('{message}')")
    context.close()
