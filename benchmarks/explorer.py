"""How long the explorer lets its user wait, how much CPU time it uses while idle, and whether long use leaves traces.

    python -m benchmarks.explorer --minutes 30

This needs Chromium (`make browser`). It prints one line for each bar. By default it uses the page for one minute. What the
console says, and requests that failed, go to stderr.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from benchmarks import processes
from benchmarks.bar import Bar

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Response

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 600_000
"""Milliseconds until a page counts as stuck."""
IDLE = 20.0
"""Seconds for which a page is left alone."""
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "+", "+", "-", "-")
OTHER_KEYS = ("Home", "Enter", "Shift+Enter", "p")
"""Keys that are pressed now and then: the whole plane, a first and a second point, and their steps."""
MAP_LAYERS = ("class", "class", "confidence", "margin", "growth")
PAUSE = 300
"""Milliseconds between keys."""
BELOW = 5
"""Levels from one timed tile to the next, each of which lies on a boundary in the one before."""
DEEPEST = 25
ASK = """async ([scene, tile]) => {
  const body = JSON.stringify({ scene, tiles: [tile] });
  const answer = await fetch("/api/view", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return answer.text();
}"""


@dataclass(frozen=True)
class Options:
    """What the benchmark measures."""

    minutes: float = 1.0
    """How long to use the page at random. Growth of memory counts from the first third to the end."""
    mnist: bool = True
    """Whether to measure the first pixels of the model `mnist` too."""


@dataclass(frozen=True)
class Troubles:
    """What must not happen in a page; messages in the order in which they came."""

    inside: list[str] = field(default_factory=list)
    """Messages of the console, errors of the page, and failed requests; not those that the page gave up itself."""
    outside: list[str] = field(default_factory=list)
    """Requests to another server."""

    def watch(self, page: Page, home: str) -> None:
        """Note what happens in a page from now on; `home` is where its requests may go."""

        def failed(request: Request) -> None:
            if request.failure != "net::ERR_ABORTED":
                self.inside.append(f"failed: {request.url} {request.failure}")

        def answered(response: Response) -> None:
            if response.status >= 400:
                self.inside.append(f"status {response.status}: {response.url}")

        def asked(request: Request) -> None:
            if not request.url.startswith((home, "about:", "blob:", "data:")):
                self.outside.append(f"outside request: {request.url}")

        page.on("console", lambda message: self.inside.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.inside.append(f"error: {error}"))
        page.on("requestfailed", failed)
        page.on("response", answered)
        page.on("request", asked)

    def bars(self) -> Iterator[Bar]:
        for trouble in (*self.inside, *self.outside):
            print(trouble, file=sys.stderr)
        yield Bar("console messages, page errors and failed requests", len(self.inside), 0)
        yield Bar("requests to other servers", len(self.outside), 0)


@contextlib.contextmanager
def opened(browser: Browser, model: str, troubles: Troubles) -> Iterator[tuple[Page, str, int]]:
    """A page of 1280 × 800, the link of an explorer in a process of its own, and the number of that process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "denoscope", "explore", model, "--no_browser"]
        command += ["--cache", f"{folder}/points.db", "--output", f"{folder}/explored"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            link = server.stdout.readline().strip()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(WAIT)
            troubles.watch(page, f"http://{urlsplit(link).netloc}/")
            yield page, link, server.pid
            page.close()
            server.terminate()


def first_pixels(page: Page, link: str, model: str, allowed: float) -> Iterator[Bar]:
    """The seconds until the server says what it shows, whose model it loads first, and from then to the first tile."""
    start = time.perf_counter()
    page.goto(link)
    page.wait_for_selector("body[data-state=open]")
    answered = time.perf_counter()
    page.wait_for_selector("canvas[data-own=true]")
    yield Bar(f"{model}: the server's answer, the model's loading included, s", answered - start, np.inf)
    yield Bar(f"{model}: first coarse pixels after it, s", time.perf_counter() - answered, allowed)


def whole_view(page: Page) -> None:
    """Wait until all tiles in view are finished."""
    page.wait_for_selector("body[data-work='0']")
    page.wait_for_selector("canvas[data-finished=true]")


def speed_bars(page: Page, link: str) -> Iterator[Bar]:
    yield from first_pixels(page, link, "digits", 2.0)
    page.locator("#map").focus()
    start = time.perf_counter()
    page.keyboard.press("+")
    page.wait_for_selector("canvas[data-tile^='3/'][data-own=true]")
    yield Bar("digits: first pixels of a zoom step, s", time.perf_counter() - start, 1.0)
    whole_view(page)
    yield from tile_bars(page)
    start = time.perf_counter()
    page.goto(f"{link}#model=digits&base_seed=7")
    page.wait_for_selector("canvas[data-own=true]")
    whole_view(page)
    yield Bar("digits: a whole view of 1280 × 800, s", time.perf_counter() - start, 12.0)


def tile_bars(page: Page) -> Iterator[Bar]:
    """Tiles on a boundary, each in the one before; the allowed time is that of float32."""
    float32_to = page.evaluate("fetch('/api/scene?model=digits').then((answer) => answer.json())")[
        "float32_to"
    ]
    plane, x, y = labels(page.evaluate(ASK, [{"model": "digits"}, "0/0/0"])), 0, 0
    for level in range(BELOW, DEEPEST + 1, BELOW):
        column, row = boundary_tile(plane, BELOW)
        x, y = (x << BELOW) + column, (y << BELOW) + row
        start = time.perf_counter()
        answer = page.evaluate(ASK, [{"model": "digits"}, f"{level}/{x}/{y}"])
        seconds, plane = time.perf_counter() - start, labels(answer)
        precision = "float32" if level <= float32_to else "float64"
        seen = ", ".join(map(str, np.unique(plane)))
        yield Bar(
            f"digits: a tile of level {level}, {precision}, classes {seen}, s",
            seconds,
            5.0 if precision == "float32" else np.inf,
        )


def labels(lines: str) -> np.ndarray:
    """The labels [64, 64] of the last tile in an answer of the server, rows along v."""
    last = [line for line in map(json.loads, lines.splitlines()) if "data" in line][-1]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(last["data"])), np.uint8).reshape(4, 64, 64)
    return planes[0].astype(int) - 1


def boundary_tile(plane: np.ndarray, level: int) -> tuple[int, int]:
    """The part (x, y) of a tile with cells of several classes that is nearest to the middle of the tile.

    The tile is cut into 2^level × 2^level parts of at least two cells along each axis. All cells of a part are cells of the
    tile in its place too, so that this one lies on the boundary as well.

    Raises: SystemExit if the tile has one class only.
    """
    parts = 2**level
    blocks = plane.reshape(parts, 64 // parts, parts, 64 // parts)
    rows, columns = np.nonzero(blocks.max((1, 3)) != blocks.min((1, 3)))
    if not len(rows):
        raise SystemExit(f"there is no boundary in a tile of class {plane[0, 0]}")
    middle = (parts - 1) / 2
    nearest = np.hypot(rows - middle, columns - middle).argmin()
    return int(columns[nearest]), int(rows[nearest])


def idle_bar(page: Page) -> Bar:
    """CPU time of server and browser while nobody touches the page."""
    whole_view(page)
    page.wait_for_timeout(3000)
    before = processes.seconds(_is_measured)
    page.wait_for_timeout(1000 * IDLE)
    share = (processes.seconds(_is_measured) - before) / IDLE
    return Bar("idle page: CPU of server and browser, %", 100 * share, 1.0)


def _is_measured(process: processes.Process) -> bool:
    """Whether a process is the server or the browser; the driver of the browser only measures."""
    return "playwright" not in process.command


def use(page: Page, draw: random.Random, seconds: float) -> None:
    """Pan and zoom at random; now and then look at points or another layer."""
    end = time.monotonic() + seconds
    page.locator("#map").focus()
    while time.monotonic() < end:
        if draw.random() < 0.02:
            page.select_option("#layer", draw.choice(MAP_LAYERS))
            page.locator("#map").focus()
        page.keyboard.press(draw.choice(OTHER_KEYS if draw.random() < 0.05 else KEYS))
        page.wait_for_timeout(PAUSE)


def memory_bars(page: Page, server: int, minutes: float) -> Iterator[Bar]:
    """Growth of memory while the page is used at random."""
    draw, sizes = random.Random(0), []
    for share in (1 / 3, 2 / 3):
        use(page, draw, 60 * minutes * share)
        sizes.append(memory(page, server))
    few, many = sizes
    for name, size in many.items():
        label = f"{name} after {minutes:g} min ({size / 1e6:.0f} MB) ÷ after a third"
        yield Bar(label, size / few[name], 1.05)


def memory(page: Page, server: int) -> dict[str, int]:
    """Bytes of the server's process, of the browser's processes that render pages, and of the page's JavaScript.

    The page collects its garbage before.
    """
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")
    devtools.detach()
    running = processes.descendants()
    return {
        "server's memory": sum(process.resident for process in running if process.number == server),
        "renderers' memory": sum(
            process.resident for process in running if "--type=renderer" in process.command
        ),
        "JavaScript's heap": int(heap["usedSize"]),
    }


def bars(options: Options) -> Iterator[Bar]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        troubles = Troubles()
        with opened(browser, "digits", troubles) as (page, link, server):
            yield from speed_bars(page, link)
            yield idle_bar(page)
            yield from memory_bars(page, server, options.minutes)
        if options.mnist:
            with opened(browser, "mnist", troubles) as (page, link, _):
                yield from first_pixels(page, link, "mnist", 3.0)
        yield from troubles.bars()
        browser.close()


def main(options: Options) -> None:
    print(f"{'bar':<66}{'found':>10}{'allowed':>10}")
    for bar in bars(options):
        print(bar, flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
