"""What tests do with a page of the explorer in a browser, and what they read from it."""

import re
from pathlib import Path

from playwright.sync_api import Page

from denoscope.explorer.coordinates import text_of
from denoscope.explorer.tile_address import CELLS, CellAddress

TILES_IN_VIEW = """() => {
  const { level } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const map = document.getElementById("map").getBoundingClientRect();
  return [...document.querySelectorAll(`canvas[data-tile^="${level}/"]`)].filter((tile) => {
    const box = tile.getBoundingClientRect();
    return box.right > map.left + 1 && box.left < map.right - 1 && box.bottom > map.top + 1 && box.top < map.bottom - 1;
  });
}"""
"""A function of the page: the canvases in view. Those of the level before stay in the page for a moment."""


def address_of(page: Page) -> dict[str, str]:
    """The fields of the address, as the page has it: what Playwright knows of it follows a moment later."""
    return dict(part.split("=", 1) for part in page.evaluate("location.hash.slice(1)").split("&"))


def go(page: Page, fragment: str) -> None:
    """Change the address, and wait until the page shows it or waits for the server."""
    page.evaluate(
        """(fragment) => new Promise((done) => {
          addEventListener("hashchange", done, { once: true }); // after the listener of the page
          location.hash = fragment;
        })""",
        fragment,
    )


def between(level: int, x: int, y: int) -> str:
    """The coordinates in a plane of side 18 between tile (x, y) and the one before it: a small page shows only these two."""
    return text_of(CellAddress(level, CELLS * x, CELLS * y + CELLS // 2), "18")


def absences(page: Page) -> list[str]:
    """Why tiles in view are not shown, once all others in view are finished."""
    page.wait_for_function(
        f"""() => {{
          const tiles = ({TILES_IN_VIEW})();
          const open = (tile) => tile.dataset.finished !== "true" && !tile.title;
          return tiles.length && !tiles.some(open) && document.body.dataset.work === "0";
        }}"""
    )
    return page.evaluate(f"({TILES_IN_VIEW})().map((tile) => tile.title).filter(Boolean)")


def finish(page: Page) -> None:
    """Wait until all tiles in view are finished."""
    assert absences(page) == []


def rest(page: Page) -> None:
    """Wait until the page has asked for the tiles that its last movement brings into view, if there are any."""
    page.evaluate("new Promise((done) => setTimeout(done, 100))")  # longer than SETTLE in app.js


def rgba(color: str) -> list[int]:
    """The channels of an opaque colour #rrggbb."""
    return [*(int(color[k : k + 2], 16) for k in (1, 3, 5)), 255]


def middle_of(page: Page) -> tuple[float, float]:
    box = page.locator("#map").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pick(page: Page, right: float, down: float) -> None:
    """Click beside the middle of the map, and wait for the answer."""
    x, y = middle_of(page)
    with page.expect_response(re.compile("/api/point")):
        page.mouse.click(x + right, y + down)
    page.wait_for_selector("#panel:not([aria-busy])")


def saved(page: Page, name: str) -> Path:
    """The file that an entry of the menu saves."""
    page.click("#save summary")
    with page.expect_download() as download:
        page.click(f"#save-{name}")
    assert not page.locator("#save div").is_visible()
    return Path(download.value.path())


def drop(page: Page, content: bytes, name: str) -> None:
    """Drop a file on the page."""
    page.evaluate(
        """([bytes, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        [list(content), name],
    )


def check_narrow(page: Page, scheme: str) -> None:
    """Nothing is wider than a page of 400 pixels, whose background is light or dark."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 384) == (scheme == "dark")


def nameless(page: Page) -> list[str]:
    """The controls without a name that a screen reader can say."""
    return page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=img]")].filter((item) =>
          !item.closest("[hidden]") && !item.labels?.length && !item.getAttribute("aria-label") && !item.textContent.trim()
        ).map((item) => item.outerHTML)"""
    )


def color_at(page: Page, right: float, down: float) -> list[int]:
    """The colour [r, g, b, a] of the map beside its middle, from the canvas of the tile there."""
    x, y = middle_of(page)
    return page.evaluate(
        f"([x, y]) => {{ const tiles = ({TILES_IN_VIEW})();"
        """
          const canvas = tiles.find((tile) => {
            const box = tile.getBoundingClientRect();
            return box.left <= x && x < box.right && box.top <= y && y < box.bottom;
          });
          const box = canvas.getBoundingClientRect();
          const at = [(x - box.left) / box.width * 64, (y - box.top) / box.height * 64].map(Math.floor);
          const copy = new OffscreenCanvas(1, 1).getContext("2d"); // reading a canvas of the page twice makes Chromium warn
          copy.drawImage(canvas, -at[0], -at[1]);
          return [...copy.getImageData(0, 0, 1, 1).data];
        }""",
        [x + right, y + down],
    )
