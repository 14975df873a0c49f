"""A running explorer of the bundled model `digits`, and a page of a real browser that shows it."""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from denoscope.config import SystemConfig
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.application import application
from denoscope.explorer.server.running import bound
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.session import Session

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 120_000
"""Milliseconds after which a page counts as stuck; machines may be busy."""


@pytest.fixture(scope="session")
def digits_session(tmp_path_factory) -> Iterator[Session]:
    """A session of the bundled model `digits` in two steps, without a file of known points."""
    session = Session(
        Models("digits", device="cpu"),
        Scene("digits", steps=2),
        SystemConfig.class_colors,
        recordings=tmp_path_factory.mktemp("explored"),
    )
    yield session
    session.close()


@dataclasses.dataclass
class Running:
    """A server in a thread of its own."""

    gate: Gate
    session: Session

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.gate.port}/"


@pytest.fixture(scope="session")
def explorer(digits_session) -> Iterator[Running]:
    """The explorer of `digits_session` on a free port."""
    with bound(8765) as listening:
        gate = application(digits_session, listening.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(gate, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Running(gate, digits_session)
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; a machine without it skips, unless BROWSER_TESTS=required."""
    if CHROMIUM is None:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail("chromium is missing; `make browser` installs it")
        pytest.skip("chromium is missing; `make browser` installs it")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, explorer):
    """A function that opens the explorer in a new page; all pages must end without errors and without outside requests."""
    contexts, troubles = [], []

    def opened(fragment: str = "", *, width: int = 1280, height: int = 800, **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("request", lambda request: _check_inside(request.url, explorer, troubles))
        page.goto(f"{explorer.gate.link}{fragment}")
        page.wait_for_selector("body[data-state=open]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def _check_inside(url: str, explorer: Running, troubles: list[str]) -> None:
    if not url.startswith((explorer.address, "blob:", "data:")):
        troubles.append(f"outside request: {url}")
