"""A film that zooms from the whole plane into the middle of a view."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoscope.explorer.atlas import GROWTH, Atlas, pictures_of
from denoscope.explorer.layer_colors import CLASS, ENDS, LAYERS, colors_of, shades
from denoscope.explorer.saving.saved_file import Progress, SavedFile, Saving
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.explorer.view_address import View
from denoscope.figures.animation_files import write_animation
from denoscope.figures.animations import CAPTION, WIDTH, captioned

if TYPE_CHECKING:
    from PIL import Image

FRAMES = 8
"""Frames from one level to the next."""
SHADED = 128
"""Colours of a frame of shades."""
BAR, GAP = 64, 4
"""Pixels of the shades in a caption, and of the gaps around them."""
Captioned = Callable[["Image.Image", str], "Image.Image"]


def zoom_film(atlas: Atlas, colors: Sequence[str], address: str) -> Saving:
    """The layer of a view around its middle, from level 0 to its level: MP4 if the extra `video` is installed, otherwise GIF.

    Raises: UserError if the address is invalid.
    """
    view = View.of(address, length=atlas.plane.length, deepest=atlas.deepest)
    windows = [Window.around(view.middle, level) for level in range(view.level + 1)]
    table, pictures = colors_of(view.layer, colors), []
    stage, plane = (atlas.growth, 0) if view.layer == GROWTH else (atlas.fine, LAYERS.index(view.layer))
    done, count = 0, sum(len(window.tiles) for window in windows) + 1
    for window in windows:
        planes = {}
        for tile, picture in pictures_of(stage(window.tiles)):
            if picture is not None:
                planes[tile] = picture.planes[plane]
            yield Progress(done, count)
        done += len(window.tiles)
        pictures.append(window.picture(planes, table))
    yield Progress(done, count)
    yield _film(frames(windows, pictures, float(atlas.plane.length), captions(view.layer)))


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

    def picture(self, planes: Mapping[TileAddress, np.ndarray], table: np.ndarray) -> Image.Image:
        """The window, v upwards, of the bytes of its tiles, each in its colour of a table."""
        from PIL import Image

        whole = np.zeros((2 * CELLS, 2 * CELLS), np.uint8)
        x, y = self.i // CELLS, self.j // CELLS
        for tile, plane in planes.items():
            row, column = CELLS * (tile.y - y), CELLS * (tile.x - x)
            whole[row : row + CELLS, column : column + CELLS] = plane
        bottom, left = self.j % CELLS, self.i % CELLS
        shown = whole[bottom : bottom + CELLS, left : left + CELLS]
        return Image.fromarray(table[shown[::-1]])


def captions(layer: str) -> Captioned:
    """A function that puts a caption under a picture of a layer, with the legend of shades at its end."""
    if layer == CLASS:
        return captioned
    return functools.partial(captioned, legend=legend(layer), colors=SHADED)


def legend(layer: str) -> Image.Image:
    """The name of a layer and its shades between their ends."""
    from PIL import Image, ImageDraw

    low, high = ENDS[layer]
    before, after = f"{layer}  {low}", high
    lengths = [round(ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(text)) for text in (before, after)]
    bar = np.broadcast_to(shades(np.linspace(0, 1, BAR)), (CAPTION // 2, BAR, 3))
    image = Image.new("RGB", (sum(lengths) + BAR + 3 * GAP, CAPTION))
    draw = ImageDraw.Draw(image)
    draw.text((0, 3), before, fill=(255, 255, 255))
    image.paste(Image.fromarray(bar.copy()), (lengths[0] + GAP, CAPTION // 4))
    draw.text((lengths[0] + BAR + 2 * GAP, 3), after, fill=(255, 255, 255))
    return image


def frames(
    windows: Sequence[Window], pictures: Sequence[Image.Image], length: float, caption: Captioned
) -> Iterator[Image.Image]:
    """The frames of a film: each level is magnified to twice its size, with the finer picture of the next one in it."""

    def framed(picture: Image.Image, level: int, side: float) -> Image.Image:
        return caption(picture, f"level {level}   side {side:.2e} (L2)")

    for k, (window, picture) in enumerate(zip(windows, pictures, strict=True)):
        if k + 1 == len(windows):
            yield framed(picture.resize((WIDTH, WIDTH), 0), window.level, length / 2**window.level)
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
            yield framed(frame, window.level, length * side / CELLS / 2**window.level)


def _film(made: Iterator[Image.Image]) -> SavedFile:
    suffix, kind = (
        (".mp4", "video/mp4") if importlib.util.find_spec("imageio_ffmpeg") else (".gif", "image/gif")
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"denoscope{suffix}"
        write_animation(made, path)
        return SavedFile(path.read_bytes(), path.name, kind)
