"""Maps of the parts of a plane at all levels: what a viewer of the plane asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from denoscope.basins import point_cache
from denoscope.basins.blank_map import attributes, blank_map
from denoscope.basins.blocks import block_of
from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import Labelling, parse_labelling
from denoscope.basins.map_cells import MapCells
from denoscope.basins.methods import adaptive_options
from denoscope.basins.point_cache import parse_cache
from denoscope.basins.shared_calls import Task, shared_calls
from denoscope.config import ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.noise.plane_noise import PlaneNoise
from denoscope.noise.planes import tile

if TYPE_CHECKING:
    import xarray

Part = tuple[int, int, int]
"""Level, x and y of a part."""


class Refined(NamedTuple):
    """The map of a part, as far as it is refined; None if the part has failed."""

    part: Part
    map: xarray.Dataset | None
    finished: bool
    error: Exception | None = None


QUARTERED = 2
"""The level from which on blocks have a constant share of a part, a quarter of one of 64 cells."""


@dataclass(frozen=True, eq=False, repr=False)
class Tiles:
    """The maps of the parts of a plane; made by `tiles`.

    At level k the plane is cut into 2^k × 2^k parts. Part (x, y) is the x-th along u and the y-th along v.
    """

    labelling: Labelling
    plane: PlaneNoise
    cells: int
    audit: int
    cache: Path | None

    def __repr__(self) -> str:
        described = f"{self.cells} × {self.cells} cells of {self.plane!r}"
        return f"<Tiles of {described}, {self.labelling.loop.steps} steps>"

    def __call__(self, level: int, x: int, y: int) -> xarray.Dataset:
        """The finished map of a part, as `basins.map` returns it.

        Raises: UserError if the plane has no such part, or its cells are too close to be told apart.
        """
        with self._begun((level, x, y)) as cells:
            for _ in cells.fill(self.audit):
                pass
        return cells.data

    def lattice(self, level: int, x: int, y: int, *, every: int) -> xarray.Dataset:
        """The cells of a part whose row and column are multiples of `every`, all of them computed.

        They have the variables of the finished map except for `status`.

        Raises: UserError as above.
        """
        count = parse_integer(every, "every", minimum=1)
        with self._begun((level, x, y)) as cells:
            rows, columns = np.mgrid[: self.cells : count, : self.cells : count]
            for _ in cells.run_alone(cells.compute(rows.ravel(), columns.ravel())):
                pass
        chosen = slice(None, None, count)
        return cells.data.drop_vars("status").isel(y=chosen, x=chosen)

    def refinements(self, level: int, x: int, y: int) -> Iterator[xarray.Dataset]:
        """The map of a part as it becomes finer; the last one is finished.

        In the others, cells that are not computed have the values of the nearest computed one. Stopping the iteration
        cancels the work; what was computed is in the cache.

        Raises: UserError as above.
        """
        with self._begun((level, x, y)) as cells:
            for _ in cells.fill(self.audit):
                yield cells.preview()
        yield cells.data

    def refinements_of(self, parts: Iterable[Part]) -> Iterator[Refined]:
        """The maps of several parts as they become finer, each as `refinements` gives it.

        They share the calls of the network, so that few of its rows are padding; `network_rows` of these maps counts no
        padding. A part that fails ends with its error, and the others continue.

        Args:
            parts: level, x and y of each.
        """
        chosen, cells = list(parts), dict[int, MapCells]()

        def task(number: int) -> Task:
            with self._begun(chosen[number], ready) as cells[number]:
                yield from cells[number].fill_task(self.audit)

        with self.labelling.ready() as ready:
            tasks = map(task, range(len(chosen)))
            for number, ended, error in shared_calls(tasks, ready, self.labelling.loop.lanes):
                if not ended:
                    yield Refined(chosen[number], cells[number].preview(), finished=False)
                    continue
                done = cells.pop(number, None)
                if error or done is None:
                    yield Refined(chosen[number], None, finished=False, error=error)
                else:
                    yield Refined(chosen[number], done.data, finished=True)

    @contextmanager
    def _begun(self, place: Part, ready: Labelling | None = None) -> Iterator[MapCells]:
        """The cells of a part, none of them computed, with the cache open while the block runs.

        Args:
            ready: the labelling, if the caller has made it ready.
        """
        level, x, y = place
        part = tile(self.plane, level, x, y, self.cells)
        grid, nothing = PlaneGrid.of(part), self.labelling.nothing
        origin = self.labelling.origin(grid.made_with)
        options = adaptive_options(grid.shape, self.audit, self._block(level))
        data = blank_map(grid, nothing, attributes(origin | options), adaptive=True)
        with (
            point_cache.opened(self.cache, part, origin, nothing) as points,
            nullcontext(ready) if ready else self.labelling.ready() as labelling,
        ):
            lanes = labelling.loop.lanes
            yield MapCells(labelling, part, grid, data, lanes, points, shared=True)

    def _block(self, level: int) -> int:
        """The side of the first blocks of a part: as in a map of the whole plane, up to level 2."""
        whole = self.cells * 2 ** min(level, QUARTERED)
        return block_of((whole, whole))


@accepts_num_steps
@arguments_checked
def tiles(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    cells: int = 64,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = ClassifierConfig.classifier,
    reject: bool = ClassifierConfig.reject,
    audit: int = 0,
    lanes: int | None = None,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    cache: str | os.PathLike[str] | None = None,
) -> Tiles:
    """Adaptive maps of the parts of a plane at every level, each computed when it is asked for.

    A part begins with wide blocks: up to level 2 as wide as those of a map of the whole plane. One without a boundary
    takes few cells.

    >>> tiles = ds.basins.tiles(denoiser, plane, steps=20, cache="points.db")
    >>> tiles(level=3, x=2, y=5)  # an xarray.Dataset (y, x) of 64 × 64 cells
    >>> for map in tiles.refinements(level=3, x=2, y=5):  # coarse at first
    ...     draw(map)

    A part of one level shares a quarter of its points with each of the parts of the next that cover it, if the lengths
    and the center of the plane are dyadic, such as whole numbers. With a cache they are computed once.

    Args:
        plane: its extent; the number of its cells does not matter. A float64 denoiser gets its noises in float64.
        cells: number of cells of each map along both axes.
        others: as for `map`.

    Raises: UserError as `map` does.
    """
    labelling, grid = parse_labelling(
        denoiser,
        plane,
        steps=steps,
        classifier=classifier,
        reject=reject,
        lanes=lanes,
        noise_seed=noise_seed,
        condition=condition,
    )
    return Tiles(
        labelling,
        grid.plane.in_precision(denoiser.dtype),
        parse_integer(cells, "cells", minimum=2),
        parse_integer(audit, "audit"),
        parse_cache(cache, labelling, plane),
    )
