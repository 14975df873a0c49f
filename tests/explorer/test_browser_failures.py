"""What goes wrong behind the page: tiles that fail, and a browser that leaves while tiles are computed."""

import threading

import numpy as np
import pytest
from explorer_pages import WAIT
from page_actions import between, finish, go, middle_of, rest

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.job_queue import JobQueue, once
from denoscope.explorer.tile_address import TileAddress
from denoscope.explorer.tile_picture import TilePicture


def ends(jobs: JobQueue) -> bool:
    """Whether a queue comes to the end of its jobs."""
    reached = threading.Event()
    jobs.add(once(reached.set), print, rank=99)  # the thread of the queue takes it last
    return reached.wait(60)


def test_a_tile_that_fails_is_marked_and_asked_for_again_by_a_button_or_a_move(open_page, monkeypatch):
    fine, coarse = Atlas.fine, Atlas.coarse
    failures = ["first"]

    def failing(stage):
        def pieces(atlas, addresses):
            for address in addresses:
                if failures and str(address) == "2/2/0":
                    yield address, RuntimeError(failures[0])
                else:
                    yield from stage(atlas, [address])

        return pieces

    monkeypatch.setattr(Atlas, "fine", failing(fine))
    monkeypatch.setattr(Atlas, "coarse", failing(coarse))
    page = open_page(f"#model=digits&steps=2&level=2&at={between(2, 2, 0)}")
    asked = []
    page.on(
        "request",
        lambda request: request.url.endswith("/api/view") and asked.append(request.post_data_json["tiles"]),
    )
    page.wait_for_selector("canvas.failed[data-tile='2/2/0'][title='RuntimeError: first']")
    page.wait_for_selector("canvas[data-tile='2/1/0'][data-finished=true]")
    page.wait_for_selector("#failure:has-text('a tile failed: RuntimeError: first')")
    asked.clear()  # the first request, if it was sent after the page was open
    page.click("#open-settings")
    page.evaluate("new Promise(requestAnimationFrame)")
    rest(page)
    assert not asked, "a map that only changes its size asks for no failed tile"
    failures[0] = "second"
    page.click("#failure button")
    page.wait_for_selector("#failure:has-text('a tile failed: RuntimeError: second')")
    assert asked == [["2/2/0"]] and page.evaluate("document.activeElement.id") == "map"
    failures.clear()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("canvas[data-tile='2/2/0'][data-finished=true]:not(.failed)")
    page.wait_for_selector("#failure", state="hidden")
    page.keyboard.press("Home")
    page.wait_for_selector("canvas[data-tile='0/0/0'][data-finished=true]")


@pytest.mark.usefixtures("no_tiles")
def test_a_request_that_fails_is_said_and_sent_again(browser, explorer):
    context = browser.new_context(
        viewport={"width": 480, "height": 420}
    )  # Chromium writes failures into the console
    page = context.new_page()
    page.set_default_timeout(WAIT)
    answers = {
        "scene": lambda route: route.fulfill(status=500, json={"error": "RuntimeError: no model"}),
        "view": lambda route: route.fulfill(body=""),
        "point": lambda route: route.abort(),
        "pair": lambda route: route.fulfill(status=502, body="<html>"),
    }
    for name, answer in answers.items():
        page.route(f"**/api/{name}*", answer)
    page.goto(f"{explorer.gate.link}#model=digits&steps=2&a=1.0,1.0@2&b=2.0,1.0@2")
    page.wait_for_selector("#message:has-text('RuntimeError: no model')")
    again = page.locator("#message button")
    page.unroute("**/api/scene*")
    again.click()
    page.wait_for_selector("#failure:has-text('the server ended its answer too early')")
    page.wait_for_selector("#message:has-text('the server does not answer')")
    assert page.locator("#point").is_hidden() and page.locator(".pin").count() == 2
    for name in ("view", "point"):
        page.unroute(f"**/api/{name}*")
    page.click("#failure button")
    page.wait_for_selector("#failure", state="hidden")
    again.press("Enter")
    page.wait_for_selector("#message:has-text('the server answered 502')")
    assert page.locator("#point").is_visible() and page.locator("#pair").is_hidden()
    assert page.evaluate("document.activeElement.id") == "map"
    page.unroute("**/api/pair*")
    again.click()
    page.wait_for_selector("#pair:not([hidden])")
    page.route("**/api/point*", lambda _: None)  # no answer
    with page.expect_request("**/api/point*"):
        page.locator("#map").press("Enter")
    with page.expect_event("requestfailed", lambda request: "/api/point" in request.url):
        go(page, "model=digits&steps=0")
    page.wait_for_selector("#message:has-text('steps')")
    assert again.is_hidden(), "what is refused would be refused again"
    context.close()


def test_the_work_for_a_tile_that_leaves_the_view_is_dropped(open_page, explorer, monkeypatch):
    begun, ended = threading.Event(), threading.Event()
    pictures = [TilePicture(np.ones((4, 64, 64), np.uint8), finished=finished) for finished in (False, True)]

    def endless(_atlas, addresses):
        for address in addresses:
            if str(address) != "4/2/8":
                yield address, pictures[1]
        try:
            while TileAddress(4, 2, 8) in addresses and not ended.wait(0.02):
                begun.set()
                yield TileAddress(4, 2, 8), pictures[0]
        finally:
            if TileAddress(4, 2, 8) in addresses:
                ended.set()

    monkeypatch.setattr(Atlas, "fine", endless)
    page = open_page(f"#model=digits&steps=2&level=4&at={between(4, 3, 8)}&base_seed=6")
    assert begun.wait(60)
    x, y = middle_of(page)
    page.mouse.move(x + 200, y)
    page.mouse.down()
    page.mouse.move(x, y, steps=3)
    assert not ended.is_set()
    page.mouse.move(x - 200, y, steps=3)
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/api/view")):
        page.mouse.up()
    assert ended.wait(60)
    page.wait_for_selector("canvas[data-tile='4/4/8'][data-finished=true]")
    page.wait_for_selector("body[data-work='0']")
    assert ends(explorer.session.jobs)


def test_the_work_for_a_browser_that_leaves_is_dropped(open_page, explorer, monkeypatch):
    begun, ended = threading.Event(), threading.Event()
    piece = TilePicture(np.ones((4, 64, 64), np.uint8), finished=False)
    fine = Atlas.fine

    def endless(_atlas, addresses):
        try:
            while not ended.wait(0.02):
                begun.set()
                yield addresses[0], piece
        finally:
            ended.set()

    monkeypatch.setattr(Atlas, "fine", endless)
    page = open_page("#model=digits&steps=2&level=0&at=0,0&base_seed=5")
    page.wait_for_selector("#work:has-text('computing 1 tile')")
    assert begun.wait(60)
    page.goto("about:blank")
    assert ended.wait(60)
    monkeypatch.setattr(Atlas, "fine", fine)
    again = open_page("#model=digits&steps=2&level=0&at=0,0")
    finish(again)
    assert ends(explorer.session.jobs)
