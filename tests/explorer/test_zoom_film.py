"""Films of zooms: which cells their frames show, on a plane whose classes are known."""

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
LEVEL = 6
CORNER = CellAddress(LEVEL, 1500, 2777)
"""The cell in which four quadrants of classes meet: its lower left corner."""


def quadrants(tile):
    """The classes of a tile: 0 left below the corner, 1 right below, 2 left above, 3 right above."""
    shift = LEVEL - tile.level
    columns, rows = (
        ((CELLS * index + np.arange(CELLS)) << shift) >= corner
        for index, corner in ((tile.x, CORNER.i), (tile.y, CORNER.j))
    )
    planes = np.zeros((4, CELLS, CELLS), np.uint8)
    planes[0] = 1 + columns[None, :] + 2 * rows[:, None]
    return iter([TilePicture(planes, True)])


@pytest.fixture
def atlas():
    return SimpleNamespace(plane=SimpleNamespace(length="16"), deepest=40, fine=quadrants)


def frames_of(made):
    with Image.open(io.BytesIO(made.content)) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB"))[:WIDTH]


def test_each_frame_shows_the_quadrants_around_their_corner(atlas, monkeypatch):
    monkeypatch.setattr(films.importlib.util, "find_spec", lambda _: None)
    *progress, made = films.zoom_film(atlas, COLORS, f"#model=m&level={LEVEL}&at={text_of(CORNER, '16')}")
    assert isinstance(made, SavedFile) and made.name == "denoscope.gif"
    assert all(isinstance(item, Progress) for item in progress)
    assert progress[0].done == 0 and progress[-1].done == progress[-1].count - 1
    frames = list(frames_of(made))
    assert len(frames) == 8 * LEVEL + 1
    whole = CORNER.i / 2**LEVEL / CELLS, CORNER.j / 2**LEVEL / CELLS
    # The corner moves from its place in the whole plane to the middle while the window is at the border, and stays there.
    for frame, (right, up) in ((frames[0], whole), *((frame, (0.5, 0.5)) for frame in frames[16:])):
        x, y = WIDTH * right, WIDTH * (1 - up)
        for label, (dx, dy) in enumerate([(-12, 12), (12, 12), (-12, -12), (12, -12)]):
            expected = [int(COLORS[label][k : k + 2], 16) for k in (1, 3, 5)]
            assert frame[round(y + dy), round(x + dx)].tolist() == expected
    for frame in frames:
        assert len(np.unique(frame.astype(int) @ [65536, 256, 1])) == 4, (
            "the corner is always in view, and nothing else"
        )


def test_a_window_at_the_border_stays_within_the_plane():
    corner = CellAddress(5, 0, 64 * 32 - 1)
    windows = [films.Window.around(corner, level) for level in range(6)]
    assert [(window.i, window.j) for window in windows] == [(0, 64 * (2**k - 1)) for k in range(6)]
    assert all(len(window.tiles) == 1 for window in windows)
    assert len(films.Window.around(CellAddress(5, 1000, 1000), 5).tiles) == 4
