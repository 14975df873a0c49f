"""What goes wrong behind the page: tiles that fail, and a browser that leaves while tiles are computed."""

import threading

import numpy as np
from page_actions import between, finish

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.tile_picture import TilePicture


def test_a_tile_on_which_the_model_fails_is_marked_and_the_others_go_on(open_page, monkeypatch):
    fine, coarse = Atlas.fine, Atlas.coarse

    def failing(stage):
        def pieces(atlas, address):
            if str(address) == "2/2/0":
                raise RuntimeError("on purpose")
            yield from stage(atlas, address)

        return pieces

    monkeypatch.setattr(Atlas, "fine", failing(fine))
    monkeypatch.setattr(Atlas, "coarse", failing(coarse))
    page = open_page(f"#model=digits&steps=2&level=2&at={between(2, 2, 0)}")
    page.wait_for_selector("canvas.failed[data-tile='2/2/0'][title='RuntimeError: on purpose']")
    page.wait_for_selector("canvas[data-tile='2/1/0'][data-finished=true]")
    page.wait_for_selector("#work:has-text('a tile failed: RuntimeError: on purpose')")
    page.locator("#map").focus()
    page.keyboard.press("Home")
    page.wait_for_selector("canvas[data-tile='2/1/1'][data-finished=true]")


def test_the_work_for_a_browser_that_leaves_is_dropped(open_page, explorer, monkeypatch):
    begun, ended = threading.Event(), threading.Event()
    piece = TilePicture(np.ones((4, 64, 64), np.uint8), finished=False)
    fine = Atlas.fine

    def endless(_atlas, _address):
        try:
            while not ended.wait(0.02):
                begun.set()
                yield piece
        finally:
            ended.set()

    monkeypatch.setattr(Atlas, "fine", endless)
    page = open_page("#model=digits&steps=2&level=0&at=0,0&base_seed=5")
    page.wait_for_selector("#work:has-text('computing 1 tiles')")
    assert begun.wait(60)
    page.goto("about:blank")
    assert ended.wait(60)
    monkeypatch.setattr(Atlas, "fine", fine)
    again = open_page("#model=digits&steps=2&level=0&at=0,0")
    finish(again)
    assert not len(explorer.session.jobs)
