"""Servers of an explorer, and pages of a real browser that show them."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

import uvicorn
from playwright.sync_api import Browser, Page

from denoscope.explorer.server.running import bound
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.session import Session

ColorScheme = Literal["light", "dark"]
WAIT = 120_000
"""Milliseconds after which a page counts as stuck; machines may be busy."""


@dataclasses.dataclass
class Running:
    """A server in a thread of its own."""

    gate: Gate
    session: Session | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.gate.port}/"


@contextlib.contextmanager
def served(application: Callable[[int], Gate]) -> Iterator[Gate]:
    """The application for a free port, which answers while the block runs."""
    with bound(8765) as listening:
        gate = application(listening.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(gate, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield gate
        server.should_exit = True
        thread.join(10)


class Pages:
    """Pages of one browser context, each of which serves many tests: a new one takes seconds.

    A page is loaded again for each test, and nothing stays in its storage.
    """

    def __init__(self, browser: Browser):
        self._context = browser.new_context()
        self._idle: list[Page] = []
        self._address = ""
        self._troubles: list[str] = []

    @contextlib.contextmanager
    def opening(self, explorer: Running) -> Iterator[Callable[..., Page]]:
        """A function that opens a server in a page; all pages must end without errors and without outside requests."""
        used: list[Page] = []
        self._address = explorer.address

        def opened(
            fragment: str = "", *, width: int = 480, height: int = 420, color_scheme: ColorScheme = "light"
        ) -> Page:
            page = self._idle.pop() if self._idle else self._new()
            used.append(page)
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=color_scheme)
            page.goto(f"{explorer.gate.link}{fragment}")
            page.wait_for_selector("body[data-state=open]")
            return page

        yield opened
        for page in used:
            if page.url != "about:blank":
                page.evaluate("localStorage.clear()")
            page.goto("about:blank")  # ends what the server computes for it
        self._idle += used
        troubles, self._troubles = self._troubles, []
        assert not troubles, troubles

    def _new(self) -> Page:
        page = self._context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: self._troubles.append(f"error: {error}"))
        page.on("console", lambda message: self._troubles.append(f"console: {message.text}"))
        page.on("request", lambda request: self._check_inside(request.url))
        return page

    def _check_inside(self, url: str) -> None:
        if not url.startswith((self._address, "about:", "blob:", "data:")):
            self._troubles.append(f"outside request: {url}")
