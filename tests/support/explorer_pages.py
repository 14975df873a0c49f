"""Servers of an explorer, and pages of a real browser that show them."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from playwright.sync_api import Browser, Page

from denoscope.explorer.server.running import bound
from denoscope.explorer.server.safety import Gate
from denoscope.explorer.session import Session

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


@contextlib.contextmanager
def opening(browser: Browser, explorer: Running) -> Iterator[Callable[..., Page]]:
    """A function as `open_page` gives it, for any server."""
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
