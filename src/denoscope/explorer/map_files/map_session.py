"""What the page of a stored map asks for, and the thread that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from denoscope.explorer.job_queue import AT_ONCE, Job, JobQueue, Report, once
from denoscope.explorer.map_files.map_file import MapFile
from denoscope.explorer.tile_address import CellAddress, TileAddress
from denoscope.explorer.tile_picture import TilePicture

TILES = AT_ONCE + 1
"""The rank of tiles."""


@dataclass(eq=False)
class MapSession:
    """One run of an explorer of a stored map. Its methods only queue work; one thread does it."""

    map: MapFile
    colors: Sequence[str]
    """Colours of the first classes, each `#rrggbb`; further classes begin again."""
    jobs: JobQueue = field(default_factory=JobQueue)

    def describe(self, report: Report) -> Job:
        """Queue the description of the map: everything that a page needs to show it."""
        return self.jobs.add(once(self._description), report)

    def point(self, cell: CellAddress, report: Report) -> Job:
        """Queue what the file says about a cell."""
        return self.jobs.add(once(lambda: self.map.cell(cell)), report)

    def tiles(self, addresses: Sequence[TileAddress], report: Report) -> list[Job]:
        """Queue the tiles of a view in the order of their importance."""
        return [self.jobs.add(lambda: self._tiles(addresses), report, rank=TILES)]

    def _tiles(self, addresses: Sequence[TileAddress]) -> Iterator[tuple[TileAddress, TilePicture]]:
        for address in addresses:
            yield address, self.map.tile(address)

    def close(self) -> None:
        """End the thread."""
        self.jobs.stop()

    def _description(self) -> dict[str, Any]:
        facts = self.map.description()
        count = max(facts["classes"], len(self.colors))
        return {**facts, "colors": [self.colors[k % len(self.colors)] for k in range(count)]}
