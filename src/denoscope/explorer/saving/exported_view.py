"""A view with everything that can be clicked in it, as one file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from denoscope.explorer.atlas import GROWTH, LABELS, Atlas
from denoscope.explorer.page_file import page_file
from denoscope.explorer.point_pair import point_pair
from denoscope.explorer.point_sequence import point_sequences
from denoscope.explorer.saving.saved_file import Progress, SavedFile, Saving
from denoscope.explorer.view_address import View
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError

COLUMNS, ROWS = 12, 8
"""Points with their sequences."""
LARGEST = 10_000_000
"""Bytes of a page."""


def exported_view(atlas: Atlas, facts: Mapping[str, Any], address: str) -> Saving:
    """The page of a view.

    It holds the tiles of the view and of the levels above it, those of the growth if the view shows it, the sequences
    of the chosen points and of a lattice of points, and the comparison of A and B.

    Raises: UserError if the address is invalid, or the page exceeds 10 MB.
    """
    view = View.of(address, length=atlas.plane.length, deepest=atlas.deepest)
    kinds = {LABELS: atlas.fine} | ({GROWTH: atlas.growth} if view.layer == GROWTH else {})
    tiles: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    points: dict[str, dict[str, Any]] = {}
    groups = [[cell] for cell in dict.fromkeys(view.chosen)]
    lattice = [cell for cell in view.lattice(COLUMNS, ROWS) if cell not in view.chosen]
    groups += [
        lattice[start : start + atlas.scene.lanes] for start in range(0, len(lattice), atlas.scene.lanes)
    ]
    done, count = 0, len(kinds) * len(view.tiles) + sum(map(len, groups))
    for tile in view.tiles:
        for kind, pictures in kinds.items():
            for picture in pictures(tile):
                yield Progress(done, count)
                if picture is not None and picture.finished:
                    tiles[kind][str(tile)] = base64.b64encode(picture.packed()).decode()
            done += 1
    for cells in groups:  # each of one level
        for answers in point_sequences(atlas, cells):
            points |= {answer["cell"]: answer for answer in answers or []}
            yield Progress(done + len(points), count)
    pair = None
    if len(view.chosen) == 2:
        for answer in point_pair(atlas, *view.chosen):
            pair = answer
            yield Progress(done + len(points), count)
    page = page_file(
        {
            "address": "#" + address.rpartition("#")[2],
            "facts": {
                **facts,
                "deepest": view.level,
                "layers": [],
                "points": list(points),
                "growth": GROWTH in kinds,
                "held": [[str(tiles.start), str(tiles.stop)] for tiles in view.area],
            },
            "tiles": tiles,
            "points": points,
            "pair": pair,
        }
    )
    if len(page) > LARGEST:
        raise UserError(
            f"the page has {format_bytes(len(page))}; allowed: {format_bytes(LARGEST)}; export fewer steps"
        )
    yield SavedFile(page, "denoscope.html", "text/html")
