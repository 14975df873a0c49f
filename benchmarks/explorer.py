"""How long the explorer lets its user wait, how much CPU time it uses while idle, and whether its memory grows.

    python -m benchmarks.explorer --minutes 30

This needs Chromium (`make browser`). It prints one line for each bar. By default it pans for one minute.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import processes
from benchmarks.bar import Bar

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT = 600_000
"""Milliseconds until a page counts as stuck."""
IDLE = 20.0
"""Seconds for which a page is left alone."""
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "+", "+", "-", "-")
PAUSE = 300
"""Milliseconds between keys."""
ASK = """async ([scene, tile]) => {
  const body = JSON.stringify({ scene, tiles: [tile] });
  const answer = await fetch("/api/view", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return answer.text();
}"""


@dataclass(frozen=True)
class Options:
    """What the benchmark measures."""

    minutes: float = 1.0
    """How long to pan the map at random. Growth of memory counts from the first third to the end."""
    mnist: bool = True
    """Whether to measure the first pixels of the model `mnist` too."""


@contextlib.contextmanager
def opened(browser: Browser, model: str) -> Iterator[tuple[Page, str, int]]:
    """A page of 1280 × 800, the link of an explorer in a process of its own, and the number of that process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "denoscope", "explore", model, "--no_browser"]
        command += ["--cache", f"{folder}/points.db", "--output", f"{folder}/explored"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            link = server.stdout.readline().strip()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(WAIT)
            yield page, link, server.pid
            page.close()
            server.terminate()


def first_pixels(page: Page, link: str) -> float:
    """Seconds from opening a link to the first tile that has arrived."""
    start = time.perf_counter()
    page.goto(link)
    page.wait_for_selector("canvas[data-own=true]")
    return time.perf_counter() - start


def whole_view(page: Page) -> None:
    """Wait until all tiles in view are finished."""
    page.wait_for_selector("body[data-work='0']")
    page.wait_for_selector("canvas[data-finished=true]")


def speed_bars(page: Page, link: str) -> Iterator[Bar]:
    yield Bar("digits: first coarse pixels, s", first_pixels(page, link), 2.0)
    page.locator("#map").focus()
    start = time.perf_counter()
    page.keyboard.press("+")
    page.wait_for_selector("canvas[data-tile^='3/'][data-own=true]")
    yield Bar("digits: first pixels of a zoom step, s", time.perf_counter() - start, 1.0)
    scene = {"model": "digits"}
    x, y = boundary_tile(labels(page.evaluate(ASK, [scene, "0/0/0"])), 5)
    for level, allowed, name in (
        (5, 5.0, "a tile of 64² on a boundary"),
        (24, np.inf, "a tile of level 24 (float64)"),
    ):
        tile = f"{level}/{x << (level - 5)}/{y << (level - 5)}"
        start = time.perf_counter()
        page.evaluate(ASK, [scene, tile])
        yield Bar(f"digits: {name}, s", time.perf_counter() - start, allowed)
    start = time.perf_counter()
    page.goto(f"{link}#model=digits&base_seed=7")
    page.wait_for_selector("canvas[data-own=true]")
    whole_view(page)
    yield Bar("digits: a whole view of 1280 × 800, s", time.perf_counter() - start, 12.0)


def labels(lines: str) -> np.ndarray:
    """The labels [64, 64] of the last tile in an answer of the server, rows along v."""
    last = [line for line in map(json.loads, lines.splitlines()) if "data" in line][-1]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(last["data"])), np.uint8).reshape(4, 64, 64)
    return planes[0].astype(int) - 1


def boundary_tile(plane: np.ndarray, level: int) -> tuple[int, int]:
    """The tile (x, y) of a level, 0 to 6, that contains the cell of tile 0/0/0 beside a boundary nearest to its middle."""
    beside = plane[:, :-1] != plane[:, 1:]
    rows, columns = np.nonzero(beside)
    nearest = np.hypot(rows - 32, columns - 32).argmin()
    return int(columns[nearest]) >> (6 - level), int(rows[nearest]) >> (6 - level)


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


def memory_bars(page: Page, server: int, minutes: float) -> Iterator[Bar]:
    """Growth of memory while the map is panned at random."""
    page.locator("#map").focus()
    draw, sizes = random.Random(0), []
    for share in (1 / 3, 2 / 3):
        end = time.monotonic() + 60 * minutes * share
        while time.monotonic() < end:
            page.keyboard.press("Home" if draw.random() < 0.02 else draw.choice(KEYS))
            page.wait_for_timeout(PAUSE)
        sizes.append(memory(page, server))
    for k, name in enumerate(("server", "page")):
        few, many = sizes[0][k], sizes[1][k]
        label = f"{name}: memory after {minutes:g} min of panning ({many / 1e6:.0f} MB) ÷ after a third"
        yield Bar(label, many / few, 1.05)


def memory(page: Page, server: int) -> tuple[int, int]:
    """Bytes of the server's process, and of the page's JavaScript after a collection."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")
    devtools.detach()
    own = next(process for process in processes.descendants() if process.number == server)
    return own.resident, int(heap["usedSize"])


def bars(options: Options) -> Iterator[Bar]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with opened(browser, "digits") as (page, link, server):
            yield from speed_bars(page, link)
            yield idle_bar(page)
            yield from memory_bars(page, server, options.minutes)
        if options.mnist:
            with opened(browser, "mnist") as (page, link, _):
                yield Bar("mnist: first coarse pixels, s", first_pixels(page, link), 3.0)
        browser.close()


def main(options: Options) -> None:
    print(f"{'bar':<66}{'found':>10}{'allowed':>10}")
    for bar in bars(options):
        print(bar, flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
