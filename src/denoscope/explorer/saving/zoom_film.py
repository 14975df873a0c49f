"""A film that zooms from the whole plane into the middle of a view."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoscope.explorer.atlas import Atlas
from denoscope.explorer.saving.saved_file import Progress, SavedFile, Saving
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.explorer.view_address import View
from denoscope.figures.animation_files import write_animation
from denoscope.figures.animations import WIDTH, captioned, colored, palette

if TYPE_CHECKING:
    from PIL import Image

FRAMES = 8
"""Frames from one level to the next."""


def zoom_film(atlas: Atlas, colors: Sequence[str], address: str) -> Saving:
    """The classes around the middle of a view, from level 0 to its level: MP4 if the extra `video` is installed, otherwise GIF.

    Raises: UserError if the address is invalid.
    """
    view = View.of(address, length=atlas.plane.length, deepest=atlas.deepest)
    windows = [Window.around(view.middle, level) for level in range(view.level + 1)]
    rgb, pictures = palette(colors), []
    done, count = 0, sum(len(window.tiles) for window in windows) + 1
    for window in windows:
        planes = {}
        for tile in window.tiles:
            for picture in atlas.fine(tile):
                planes[tile] = picture.planes[0]
                yield Progress(done, count)
            done += 1
        pictures.append(window.picture(planes, rgb))
    yield Progress(done, count)
    yield _film(frames(windows, pictures, float(atlas.plane.length)))


@dataclass(frozen=True)
class Window:
    """A square of 64 × 64 cells of a level, within the plane; (i, j) is its lower left cell."""

    level: int
    i: int
    j: int

    @classmethod
    def around(cls, middle: CellAddress, level: int) -> Window:
        """The window of a level around a cell of a deeper one; at the border of the plane the cell is not in its middle."""
        last = CELLS * (2**level - 1)
        i, j = (
            min(max((index >> (middle.level - level)) - CELLS // 2, 0), last)
            for index in (middle.i, middle.j)
        )
        return cls(level, i, j)

    @property
    def tiles(self) -> list[TileAddress]:
        """The one, two or four tiles that cover the window."""
        columns, rows = (sorted({start // CELLS, (start + CELLS - 1) // CELLS}) for start in (self.i, self.j))
        return [TileAddress(self.level, x, y) for x in columns for y in rows]

    def picture(self, planes: Mapping[TileAddress, np.ndarray], rgb: np.ndarray) -> Image.Image:
        """The classes of the window, v upwards, of the planes `label + 1` of its tiles."""
        from PIL import Image

        whole = np.zeros((2 * CELLS, 2 * CELLS), np.uint8)
        x, y = self.i // CELLS, self.j // CELLS
        for tile, plane in planes.items():
            row, column = CELLS * (tile.y - y), CELLS * (tile.x - x)
            whole[row : row + CELLS, column : column + CELLS] = plane
        bottom, left = self.j % CELLS, self.i % CELLS
        labels = whole[bottom : bottom + CELLS, left : left + CELLS].astype(int) - 1
        return Image.fromarray(colored(labels, rgb)[::-1].copy())


def frames(
    windows: Sequence[Window], pictures: Sequence[Image.Image], length: float
) -> Iterator[Image.Image]:
    """The frames of a film: each level is magnified to twice its size, with the finer picture of the next one in it."""
    for k, (window, picture) in enumerate(zip(windows, pictures, strict=True)):
        if k + 1 == len(windows):
            yield _frame(picture.resize((WIDTH, WIDTH), 0), window.level, length / 2**window.level)
            return
        following = windows[k + 1]
        # The corner of the next window, in cells of this one.
        inner = following.i / 2 - window.i, following.j / 2 - window.j
        for step in range(FRAMES):
            side = CELLS * 2 ** (-step / FRAMES)
            share = 2 * (CELLS - side) / CELLS  # the part of the way to the next window
            left, bottom = share * inner[0], share * inner[1]
            box = (left, CELLS - bottom - side, left + side, CELLS - bottom)
            frame = picture.resize((WIDTH, WIDTH), 0, box=box)
            scale = WIDTH / side
            size = round(CELLS / 2 * scale)
            place = (inner[0] - left) * scale, WIDTH - (inner[1] - bottom) * scale - size
            frame.paste(pictures[k + 1].resize((size, size), 0), (round(place[0]), round(place[1])))
            yield _frame(frame, window.level, length * side / CELLS / 2**window.level)


def _frame(picture: Image.Image, level: int, side: float) -> Image.Image:
    return captioned(picture, f"level {level}   side {side:.2e} (L2)")


def _film(made: Iterator[Image.Image]) -> SavedFile:
    suffix, kind = (
        (".mp4", "video/mp4") if importlib.util.find_spec("imageio_ffmpeg") else (".gif", "image/gif")
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"denoscope{suffix}"
        write_animation(made, path)
        return SavedFile(path.read_bytes(), path.name, kind)
