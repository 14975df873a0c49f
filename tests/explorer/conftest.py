"""A running explorer of the bundled model `digits`, and a page of a real browser that shows it."""

import functools
from collections.abc import Iterator

import numpy as np
import pytest
from explorer_pages import Pages, Running, served

from denoscope.config import SystemConfig
from denoscope.explorer.job_queue import DONE, Job
from denoscope.explorer.models import Models
from denoscope.explorer.scene import Scene
from denoscope.explorer.server.application import application
from denoscope.explorer.session import Session
from denoscope.explorer.tile_address import CELLS
from denoscope.explorer.tile_picture import TilePicture


@pytest.fixture(scope="session")
def digits_session(tmp_path_factory) -> Iterator[Session]:
    """A session of the bundled model `digits` in two steps, without a file of known points."""
    session = Session(
        Models("digits", device="cpu"),
        Scene("digits", steps=2),
        SystemConfig.class_colors,
        recordings=tmp_path_factory.mktemp("explored"),
    )
    yield session
    session.close()


@pytest.fixture(scope="session")
def explorer(digits_session) -> Iterator[Running]:
    """The explorer of `digits_session` on a free port."""
    with served(functools.partial(application, digits_session)) as gate:
        yield Running(gate, digits_session)


@pytest.fixture(scope="session")
def pages(browser) -> Pages:
    """Pages that are used again."""
    return Pages(browser)


@pytest.fixture
def no_tiles(explorer, monkeypatch):
    """The server computes no tiles, for tests of what is beside the map: all of them are of no class."""
    blank = TilePicture(np.zeros((4, CELLS, CELLS), np.uint8), finished=True)

    def tiles(_scene, addresses, report, _kind):
        for address in addresses:
            report((address, blank))
        report(DONE)
        return [Job(0, list, print)]

    monkeypatch.setattr(explorer.session, "tiles", tiles)


@pytest.fixture
def open_page(pages, explorer):
    """A function that opens the explorer in a page, small so that few tiles are computed.

    All pages must end without errors and without outside requests.
    """
    with pages.opening(explorer) as opened:
        yield opened
