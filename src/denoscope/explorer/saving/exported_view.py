"""A view with everything that can be clicked in it, as one file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from denoscope.explorer.atlas import GROWTH, LABELS, Atlas, Pictures, pictures_of
from denoscope.explorer.page_file import page_file
from denoscope.explorer.point_pair import point_pair
from denoscope.explorer.point_sequence import MOST_LAYERS, point_sequences
from denoscope.explorer.saving.saved_file import Progress, SavedFile, Saving
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.explorer.view_address import View
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError

COLUMNS, ROWS = 12, 8
"""Points with their sequences, beside the chosen ones."""
LARGEST = 10_000_000
"""Bytes of a page."""
REST = 1_000
"""Bytes of a page for its note and the like."""
Points = dict[str, dict[str, Any]]
"""Sequences by cell."""
Tiles = dict[str, dict[str, str]]
"""Packed tiles by kind and address."""


def exported_view(atlas: Atlas, facts: Mapping[str, Any], address: str) -> Saving:
    """The page of a view.

    It holds the tiles of the view and of the levels above it, those of the growth if the view shows it, the sequences
    of the chosen points with the layers of the view, or of the middle without any, and of a lattice of points, and the
    comparison of A and B. The lattice has fewer points where the page would exceed 10 MB; the page and the file say so.

    Raises: UserError if the address is invalid, or the page exceeds 10 MB without a lattice.
    """
    view = View.of(address, length=atlas.plane.length, deepest=atlas.deepest)
    layers = view.layers[:MOST_LAYERS]
    kinds = {LABELS: atlas.fine} | ({GROWTH: atlas.growth} if view.layer == GROWTH else {})
    first = list(dict.fromkeys(view.chosen or [view.middle]))
    done, count = len(first), len(first) + len(kinds) * len(view.tiles) + COLUMNS * ROWS
    points: Points = {}
    tiles: Tiles = {kind: {} for kind in kinds}
    held = [[str(part.start), str(part.stop)] for part in view.area]
    shown = {**facts, "deepest": view.level, "layers": [], "growth": GROWTH in kinds, "held": held}
    content = {
        "address": "#" + address.rpartition("#")[2], "facts": shown, "points": points, "tiles": tiles, "pair": None,
    }  # fmt: skip
    yield from _sequences(atlas, [[cell] for cell in first], points, Progress(0, count), layers)
    if len(view.chosen) == 2:
        for pair in point_pair(atlas, *view.chosen, layers):
            yield Progress(done, count)
            content["pair"] = pair
    _check_size(len(page_file(content)), atlas)
    yield from _finished(view, kinds, tiles, Progress(done, count))
    left = LARGEST - REST - len(page_file(content | {"points": {}}))
    taken = sum(_size(answer) for answer in points.values())
    largest = max(_size(answer | {"layers": {}}) for answer in points.values())
    lattice = fitting_lattice(view, (left - taken) // largest)
    others = [cell for cell in lattice if cell not in first]
    groups = [others[k : k + atlas.lanes] for k in range(0, len(others), atlas.lanes)]
    done = count - COLUMNS * ROWS
    yield from _sequences(atlas, groups, points, Progress(done, done + len(others)))
    sizes = [_size(answer) for answer in points.values()]
    while sum(sizes) > left and len(points) > len(first):
        points.popitem()  # numbers of its sequence have more digits than those of the first ones
        sizes.pop()
    number = sum(str(cell) in points for cell in lattice)
    note = (
        ""
        if number == COLUMNS * ROWS
        else f"sequences of {number} of {COLUMNS * ROWS} points, to stay below 10 MB"
    )
    shown |= {"points": list(points), "note": note}
    page = page_file(content)
    _check_size(len(page), atlas)
    yield SavedFile(page, "denoscope.html", "text/html", note)


def fitting_lattice(view: View, most: int) -> list[CellAddress]:
    """The cells of the lattice of a view, or of one with fewer columns and rows that has at most as many."""
    if most >= COLUMNS * ROWS:
        return view.lattice(COLUMNS, ROWS)
    columns = min(math.isqrt(max(most, 0) * COLUMNS // ROWS), COLUMNS)
    return view.lattice(columns, most // columns) if columns else []


def _sequences(
    atlas: Atlas,
    groups: Sequence[Sequence[CellAddress]],
    points: Points,
    progress: Progress,
    layers: Sequence[str] = (),
) -> Iterator[Progress]:
    """Add the sequences of cells to `points`, with the states of layers; those of a group are of one level."""
    before = len(points)
    for cells in groups:
        for answers in point_sequences(atlas, cells, layers):
            points |= {answer["cell"]: answer for answer in answers or []}
            yield Progress(progress.done + len(points) - before, progress.count)


def _finished(
    view: View,
    kinds: Mapping[str, Callable[[Sequence[TileAddress]], Pictures]],
    tiles: Tiles,
    progress: Progress,
) -> Iterator[Progress]:
    """Add the finished tiles of a view to `tiles`, packed."""
    for kind, pictures in kinds.items():
        for tile, picture in pictures_of(pictures(view.tiles)):
            yield Progress(progress.done + sum(map(len, tiles.values())), progress.count)
            if picture is not None and picture.finished:
                tiles[kind][str(tile)] = base64.b64encode(picture.packed()).decode()


def _size(answer: Mapping[str, Any]) -> int:
    """The bytes that a sequence takes in a page, with its two entries in lists of cells."""
    return len(json.dumps(answer)) + 2 * len(answer["cell"]) + 10


def _check_size(size: int, atlas: Atlas) -> None:
    if size > LARGEST:
        raise UserError(
            f"the page has {format_bytes(size)} with its first points, of {atlas.scene.steps} steps each; allowed: "
            f"{format_bytes(LARGEST)}; export fewer steps"
        )
