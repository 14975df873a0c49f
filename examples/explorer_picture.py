"""The picture of the explorer in docs/images: the page in headless Chromium, opened at a link.

    python examples/explorer_picture.py docs/images/explorer.png

Further arguments: the part of a link from # on, the width and the height of the page, and `dark`.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Literal

import uvicorn
from playwright.sync_api import sync_playwright

from denoscope.config import SystemConfig
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.application import application
from denoscope.explorer.server.running import bound
from denoscope.explorer.session import Session

LINK = "#model=digits&steps=10&level=2&at=0.0,0.0&a=1.0,2.2@2&b=8.0,-1.5@2&step=4"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 600_000
"""Milliseconds to wait for all tiles."""


def take(
    path: str,
    link: str = LINK,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    """Save a picture of the page when everything in view is computed."""
    session = Session(Models("digits"), Scene("digits"), SystemConfig.class_colors)
    with bound(8900) as listening, sync_playwright() as playwright:
        gate = application(session, listening.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(gate, log_level="error", timeout_graceful_shutdown=1))
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(WAIT)
        page.goto(f"{gate.link}{link}")
        page.wait_for_selector("canvas[data-finished=true]")
        page.wait_for_selector("body[data-work='0']")
        page.wait_for_selector("#panel:not([aria-busy])")
        page.screenshot(path=path)
        browser.close()
        server.should_exit = True
        session.close()


if __name__ == "__main__":
    target, *rest = sys.argv[1:] or ["docs/images/explorer.png"]
    width, height = map(int, rest[1:3] or (1480, 1090))
    take(target, rest[0] if rest else LINK, width, height, "dark" if "dark" in rest[3:] else "light")
