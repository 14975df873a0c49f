"""What the page saves: pictures that lead back to their view, and pages without a server."""

import io
import re

from explorer_pages import WAIT
from page_actions import address_of, between, color_at, drop, finish, middle_of, saved
from PIL import Image


def test_a_saved_picture_leads_back_to_its_view(open_page):
    page = open_page(f"#model=digits&steps=2&level=4&at={between(4, 9, 8)}&layer=margin")
    finish(page)
    content = saved(page, "picture").read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        address, shape = picture.text["denoscope"], picture.size
    assert address == "#" + page.url.partition("#")[2]
    box = page.locator("#map").bounding_box()
    assert shape == (round(2 * box["width"]), round(2 * box["height"]))
    page.click("#home")
    page.wait_for_url(re.compile("level=2&"))
    drop(page, content, "view.png")
    page.wait_for_url(re.compile("level=4&"))
    page.wait_for_selector("body[data-state=open]")
    assert "#" + page.url.partition("#")[2] == address


def test_a_saved_page_works_from_disk_without_a_server(open_page, browser, tmp_path):
    page = open_page("#model=digits&steps=2&level=1&at=0,0")
    finish(page)
    path = saved(page, "page").rename(tmp_path / "view.html")
    assert path.stat().st_size < 10_000_000
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
    assert "level=1" in alone.url and not alone.locator("#open-settings").is_visible()
    assert color_at(alone, 20, 30) == color_at(page, 20, 30)
    x, y = middle_of(alone)
    alone.mouse.click(x + 20, y + 30)
    alone.wait_for_selector("#point:not([hidden])")
    label = int(alone.inner_text("#point-title").removeprefix("Becomes "))
    cell = address_of(alone)["a"]
    live = open_page(f"#model=digits&steps=2&level=1&a={cell}")
    live.wait_for_selector("#point:not([hidden])")
    assert live.inner_text("#point-title") == f"Becomes {label}"
    assert live.inner_text("#point-facts") == alone.inner_text("#point-facts")
    alone.locator("#map").focus()
    alone.keyboard.press("-")
    alone.wait_for_url(re.compile("level=0&"))
    finish(alone)
    context.close()
    assert not troubles
