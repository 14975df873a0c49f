"""Films of zooms: which cells their frames show, on a plane whose layers are known."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from denoscope.explorer.coordinates import text_of
from denoscope.explorer.saving import zoom_film as films
from denoscope.explorer.saving.saved_file import Progress, SavedFile
from denoscope.explorer.tile_address import CELLS, CellAddress
from denoscope.explorer.tile_picture import TilePicture
from denoscope.figures.animations import WIDTH

COLORS = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")
DARK, BLUE, GREEN, LIGHT, UNKNOWN = (13, 8, 60), (40, 96, 160), (80, 180, 160), (250, 240, 130), (60, 60, 60)
LAYERS = {
    "class": ([1, 2, 3, 4], [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]),
    "confidence": ([0, 85, 170, 255], [DARK, BLUE, GREEN, LIGHT]),
    "margin": ([255, 0, 85, 170], [LIGHT, DARK, BLUE, GREEN]),
    "growth": ([255, 0, 1, 128], [LIGHT, UNKNOWN, DARK, (34, 76, 137)]),
}
"""The bytes of four quadrants and their colours.

The byte 128 holds growths of 10^(0 … 1/16), whose middle is 33/128 of the way from 0.1 to 1000: 99/128 from dark to blue.
"""
LEVEL = 6
CORNER = CellAddress(LEVEL, 1500, 2777)
"""The cell in which four quadrants of classes meet: its lower left corner."""


def quadrants(tile, layers=("class", "confidence", "margin", "class")):
    """A tile of quadrants: 0 left below the corner, 1 right below, 2 left above, 3 right above."""
    shift = LEVEL - tile.level
    columns, rows = (
        ((CELLS * index + np.arange(CELLS)) << shift) >= corner
        for index, corner in ((tile.x, CORNER.i), (tile.y, CORNER.j))
    )
    quadrant = columns[None, :] + 2 * rows[:, None]
    planes = [np.array(LAYERS[layer][0], np.uint8)[quadrant] for layer in layers]
    return TilePicture(np.stack(planes), True)


@pytest.fixture
def atlas():
    return SimpleNamespace(
        plane=SimpleNamespace(length="16"),
        deepest=40,
        fine=lambda tiles: ((tile, quadrants(tile)) for tile in tiles),
        growth=lambda tiles: (
            (tile, piece) for tile in tiles for piece in (None, quadrants(tile, ["growth"] * 4))
        ),
    )


def frames_of(made):
    with Image.open(io.BytesIO(made.content)) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB"))[:WIDTH]


def around(frame, right, up):
    """The colours of the quadrants around a place, given as shares of the frame."""
    x, y = WIDTH * right, WIDTH * (1 - up)
    places = [(-12, 12), (12, 12), (-12, -12), (12, -12)]
    return [tuple(frame[round(y + dy), round(x + dx)].tolist()) for dx, dy in places]


@pytest.fixture(autouse=True)
def _gif(monkeypatch):
    """Films are GIF, whose colours are exact."""
    monkeypatch.setattr(films.importlib.util, "find_spec", lambda _: None)


def test_each_frame_shows_the_quadrants_around_their_corner(atlas):
    *progress, made = films.zoom_film(atlas, COLORS, f"#model=m&level={LEVEL}&at={text_of(CORNER, '16')}")
    assert isinstance(made, SavedFile) and made.name == "denoscope.gif"
    assert all(isinstance(item, Progress) for item in progress)
    assert progress[0].done == 0 and progress[-1].done == progress[-1].count - 1
    frames = list(frames_of(made))
    assert len(frames) == 8 * LEVEL + 1
    whole = CORNER.i / 2**LEVEL / CELLS, CORNER.j / 2**LEVEL / CELLS
    # The corner moves from its place in the whole plane to the middle while the window is at the border, and stays there.
    for frame, (right, up) in ((frames[0], whole), *((frame, (0.5, 0.5)) for frame in frames[16:])):
        assert around(frame, right, up) == LAYERS["class"][1]
    for frame in frames:
        assert len(np.unique(frame.astype(int) @ [65536, 256, 1])) == 4, (
            "the corner is always in view, and nothing else"
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_film_shows_the_layer_of_the_view(atlas, layer):
    address = f"#model=m&level=1&at={text_of(CORNER, '16')}&layer={layer}"
    *_, made = films.zoom_film(atlas, COLORS, address)
    *_, last = frames_of(made)
    assert around(last, 0.5, 0.5) == LAYERS[layer][1]


def test_a_window_at_the_border_stays_within_the_plane():
    corner = CellAddress(5, 0, 64 * 32 - 1)
    windows = [films.Window.around(corner, level) for level in range(6)]
    assert [(window.i, window.j) for window in windows] == [(0, 64 * (2**k - 1)) for k in range(6)]
    assert all(len(window.tiles) == 1 for window in windows)
    assert len(films.Window.around(CellAddress(5, 1000, 1000), 5).tiles) == 4
