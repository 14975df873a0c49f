"""The explorer's page in a browser: its address, its middle, a click beside it, and the colours of its map."""

import re

from playwright.sync_api import Page

from denoscope.explorer.coordinates import text_of
from denoscope.explorer.tile_address import CELLS, CellAddress

SETTLED = "body[data-work='0']"


def address_of(page: Page) -> dict[str, str]:
    return dict(part.split("=", 1) for part in page.url.partition("#")[2].split("&"))


def between(level: int, x: int, y: int) -> str:
    """The coordinates in a plane of side 18 between tile (x, y) and the one before it: a small page shows only these two."""
    return text_of(CellAddress(level, CELLS * x, CELLS * y + CELLS // 2), "18")


def finish(page: Page) -> None:
    """Wait until all tiles in view are finished."""
    page.wait_for_selector("canvas[data-finished=true]")
    page.wait_for_selector(SETTLED)
    assert page.locator("canvas.failed").count() == 0


def middle_of(page: Page) -> tuple[float, float]:
    box = page.locator("#map").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pick(page: Page, right: float, down: float) -> None:
    """Click beside the middle of the map, and wait for the answer."""
    x, y = middle_of(page)
    with page.expect_response(re.compile("/api/point")):
        page.mouse.click(x + right, y + down)
    page.wait_for_selector("#panel:not([aria-busy])")


def color_at(page: Page, right: float, down: float) -> list[int]:
    """The colour of the map beside its middle, from the canvas of the tile there."""
    x, y = middle_of(page)
    return page.evaluate(
        """([x, y]) => {
          const canvas = [...document.querySelectorAll("canvas[data-tile]")].find((tile) => {
            const box = tile.getBoundingClientRect();
            return box.left <= x && x < box.right && box.top <= y && y < box.bottom;
          });
          const box = canvas.getBoundingClientRect();
          const at = [(x - box.left) / box.width * 64, (y - box.top) / box.height * 64].map(Math.floor);
          return [...canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data.slice(0, 3)];
        }""",
        [x + right, y + down],
    )
