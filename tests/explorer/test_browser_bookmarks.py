"""Bookmarks in a real browser: adding, opening, deleting, and carrying them to another browser as a file."""

import json
import re
from pathlib import Path

import pytest
from page_actions import address_of, finish

LINK = "#model=digits&steps=2&level=0&at=0,0"


def names(page):
    return page.locator("#bookmarks li a span").all_inner_texts()


def bookmark(page, name):
    page.fill("#bookmarks [name=name]", name)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#bookmarks li:has-text('{name}')")


def given(page, content, name="given.json"):
    page.set_input_files(
        "#bookmarks [type=file]", {"name": name, "mimeType": "application/json", "buffer": content}
    )


def test_a_view_is_stored_with_its_picture_opened_and_deleted(open_page):
    page = open_page(LINK)
    finish(page)
    page.click("#open-bookmarks")
    assert page.locator("#bookmarks .none").is_visible()
    bookmark(page, "all of it")
    size, color = page.locator("#bookmarks img").evaluate(
        """async (image) => {
          await image.decode();
          const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          return [[image.naturalWidth, image.naturalHeight], [...context.getImageData(48, 32, 1, 1).data.slice(0, 3)]];
        }"""
    )
    seen = page.evaluate(
        "[...document.querySelector('canvas[data-tile]').getContext('2d').getImageData(32, 32, 1, 1).data.slice(0, 3)]"
    )
    assert size == [96, 64] and color == seen
    stored = page.url.partition("#")[2]
    page.select_option("#layer", "margin")
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: "at=0.0" not in url)
    bookmark(page, "<b>margin</b>")
    assert names(page) == ["all of it", "<b>margin</b>"] and address_of(page)["layer"] == "margin"
    page.get_by_role("link", name="all of it").press("Enter")
    page.wait_for_selector("#legend.classes")
    assert page.url.partition("#")[2] == stored
    again = open_page(LINK)
    again.click("#open-bookmarks")
    assert names(again) == ["all of it", "<b>margin</b>"]
    again.get_by_role("button", name="Delete all of it").press("Enter")
    assert names(again) == ["<b>margin</b>"]
    assert again.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete <b>margin</b>"
    page.wait_for_selector("#bookmarks li >> nth=1", state="detached")


@pytest.mark.usefixtures("no_tiles")
def test_bookmarks_go_elsewhere_as_a_file(open_page):
    page = open_page(LINK)
    page.click("#open-bookmarks")
    bookmark(page, "one")
    with page.expect_download() as download:
        page.click("#bookmarks .export")
    content = Path(download.value.path()).read_bytes()
    assert [item["name"] for item in json.loads(content)["bookmarks"]] == ["one"]
    page.get_by_role("button", name="Delete one").click()
    assert names(page) == []
    given(page, content)
    page.wait_for_selector("#bookmarks li")
    (known,) = json.loads(content)["bookmarks"]
    own = {"name": "n", "address": "#model=digits", "picture": "https://example.org/x.png"}
    wrong = [
        {"name": 3, "address": "#x"},
        {"name": "js", "address": "javascript:alert(1)"},
        {"name": "long", "address": "#" + "x" * 9000},
    ]
    given(page, json.dumps({"denoscope": "bookmarks", "bookmarks": [*wrong, known, own]}).encode())
    page.wait_for_selector("#bookmarks li:has-text('n') >> nth=1")
    assert names(page) == ["one", "n"] and page.locator("#bookmarks img").nth(1).get_attribute("src") is None


@pytest.mark.usefixtures("no_tiles")
def test_another_file_is_refused(open_page):
    page = open_page(LINK)
    page.click("#open-bookmarks")
    heads = [
        b"",
        b"\xff\xff",
        b"[]",
        b"null",
        b'{"denoscope": "bookmarks"}',
        b'{"denoscope": "bookmarks", "bookmarks": [null]}',
    ]
    for number, content in enumerate(heads):
        given(page, content, f"other-{number}.json")
        page.wait_for_selector(f"#message:has-text('other-{number}.json')")
    assert names(page) == []


@pytest.mark.usefixtures("no_tiles")
def test_a_full_storage_and_foreign_content_are_said_or_ignored(open_page):
    page = open_page(LINK)
    page.evaluate(
        "localStorage.setItem('denoscope.bookmarks', JSON.stringify(Array(200).fill({ name: 'x', address: '#model=digits' })))"
    )
    page.click("#open-bookmarks")
    page.click("#bookmarks [type=submit]")
    page.wait_for_selector("#message:has-text('200')")
    assert len(names(page)) == 200
    page.evaluate("localStorage.setItem('denoscope.bookmarks', '{')")
    page.click("#bookmarks [type=submit]")
    page.wait_for_selector("#bookmarks li >> nth=1", state="detached")
    assert re.fullmatch(r"digits, level 0", names(page)[0])
