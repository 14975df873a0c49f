"""What an explorer computes, for whoever asks: the jobs behind each view and each point, and the thread that does them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from denoscope.basins import point_cache
from denoscope.explorer.atlas import GROWTH, LABELS, Atlas, Pictures
from denoscope.explorer.job_queue import AT_ONCE, Job, JobQueue, Report, once
from denoscope.explorer.models import Models
from denoscope.explorer.point_pair import point_pair
from denoscope.explorer.point_recording import record_point
from denoscope.explorer.point_sequence import point_sequence
from denoscope.explorer.saving.exported_view import exported_view
from denoscope.explorer.saving.saved_file import Saving
from denoscope.explorer.saving.zoom_film import zoom_film
from denoscope.explorer.scene import Scene
from denoscope.explorer.tile_address import ANCHOR_EVERY, CELLS, CellAddress, TileAddress
from denoscope.foundation.errors import UserError

COARSE, FINE, SAVING = range(AT_ONCE + 1, AT_ONCE + 4)
"""Ranks of jobs that take longer: the two stages of tiles, and files."""
KINDS = ("page", "film")
"""Files of a view."""
Stage = Callable[[Atlas, Sequence[TileAddress]], Pictures]
STAGES: dict[str, list[tuple[int, Stage]]] = {
    LABELS: [
        (COARSE, lambda atlas, addresses: atlas.coarse(addresses)),
        (FINE, lambda atlas, addresses: atlas.fine(addresses)),
    ],
    GROWTH: [(FINE, lambda atlas, addresses: atlas.growth(addresses))],
}
"""What is computed for each kind of tile, by rank."""
CLIPPING = {None: "", True: " with clipping", False: " without clipping"}
"""What follows the name of a scheduler."""
ATLASES = 3
"""Scenes that stay in memory."""


@dataclass(eq=False)
class Session:
    """One run of an explorer. Its methods only queue work; one thread does it, so no model is called by two threads."""

    models: Models
    start: Scene
    """The scene of a page without an address."""
    colors: Sequence[str]
    """Colours of the classes, each `#rrggbb`."""
    cache: Path | None = None
    largest_cache: int | None = None
    """Bytes of the cache beyond which its points are dropped."""
    recordings: Path = Path("explored")
    """The folder of recordings."""
    jobs: JobQueue = field(default_factory=JobQueue)
    _atlases: OrderedDict[Scene, Atlas] = field(default_factory=OrderedDict)

    def describe(self, scene: Scene, report: Report) -> Job:
        """Queue the description of a scene: everything that a page needs to show it."""
        return self.jobs.add(once(lambda: self._description(scene)), report)

    def point(self, scene: Scene, cell: CellAddress, layers: Sequence[str], report: Report) -> Job:
        """Queue the sequence of a point."""
        return self.jobs.add(lambda: point_sequence(self._atlas(scene), cell, layers), report)

    def pair(
        self, scene: Scene, cells: tuple[CellAddress, CellAddress], layers: Sequence[str], report: Report
    ) -> Job:
        """Queue the comparison of two points."""
        return self.jobs.add(lambda: point_pair(self._atlas(scene), *cells, layers), report)

    def record(self, scene: Scene, cell: CellAddress, layers: Sequence[str], report: Report) -> Job:
        """Queue a recording of a point in the folder of recordings."""
        return self.jobs.add(lambda: record_point(self._atlas(scene), cell, layers, self.recordings), report)

    def save(self, scene: Scene, address: str, kind: str, report: Report) -> Job:
        """Queue the file of a view.

        Raises: UserError if the kind is not one of KINDS.
        """
        _check_kind(kind, KINDS)
        return self.jobs.add(lambda: self.saved(scene, address, kind), report, rank=SAVING)

    def saved(self, scene: Scene, address: str, kind: str = "page") -> Saving:
        """The file of a view, which the caller's thread makes."""
        atlas = self._atlas(scene)
        if kind == "film":
            yield from zoom_film(atlas, self.colors, address)
        else:
            yield from exported_view(atlas, self._description(scene), address)

    def tiles(
        self, scene: Scene, addresses: Sequence[TileAddress], report: Report, kind: str = LABELS
    ) -> list[Job]:
        """Queue the tiles of a view in the order of their importance, all coarse ones before the fine ones.

        Raises: UserError if the kind is not one of STAGES.
        """
        _check_kind(kind, STAGES)
        jobs = [
            Job(rank, partial(self._stage, stage, scene, addresses), report) for rank, stage in STAGES[kind]
        ]
        self.jobs.submit(jobs)
        return jobs

    def close(self) -> None:
        """End the thread."""
        self.jobs.stop()

    def _stage(self, stage: Stage, scene: Scene, addresses: Sequence[TileAddress]) -> Pictures:
        return stage(self._atlas(scene), addresses)

    def _atlas(self, scene: Scene) -> Atlas:
        """The atlas of a scene. The least recently used atlas is dropped, and a cache that is too large is emptied."""
        if self.cache and self.largest_cache is not None and _size(self.cache) > self.largest_cache:
            point_cache.empty(self.cache)
        if scene not in self._atlases:
            self._atlases[scene] = Atlas(scene, self.models.denoiser, self.cache)
            while len(self._atlases) > ATLASES:
                self._atlases.popitem(last=False)
        self._atlases.move_to_end(scene)
        return self._atlases[scene]

    def _description(self, scene: Scene) -> dict[str, Any]:
        atlas = self._atlas(scene)
        denoiser = atlas.denoiser(0)
        atlas.classifier(0)
        return {
            "scene": scene.fields,
            "models": self.models.names,
            "scheduler": type(denoiser.scheduler).__name__ + CLIPPING[scene.clip_sample],
            "shape": list(denoiser.shape),
            "length": atlas.plane.length,
            "noised_image": bool(scene.image),
            "first_step": atlas.start.step if atlas.start else 0,
            "named": [
                [name, ",".join(f"{x:.12f}" for x in place)]
                for name, place in (atlas.origin.named if atlas.origin else {}).items()
            ],
            "cells": CELLS,
            "anchor_every": ANCHOR_EVERY,
            "deepest": atlas.deepest,
            "float32_to": atlas.float32_to,
            "colors": list(self.colors),
            "layers": [layer.address for layer in denoiser.layers() if layer.shape is not None],
        }


def _check_kind(kind: str, allowed: Collection[str]) -> None:
    if kind not in allowed:
        raise UserError(f"kind is {kind[:80]!r}; allowed: {', '.join(allowed)}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
