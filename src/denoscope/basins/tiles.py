"""Maps of the parts of a plane at all levels: what a viewer of the plane asks for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from denoscope.basins import point_cache
from denoscope.basins.blank_map import blank_map
from denoscope.basins.blocks import block_of
from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import Labelling, parse_labelling, parse_plane
from denoscope.basins.map_cells import MapCells
from denoscope.basins.point_cache import parse_cache
from denoscope.basins.refinement import Refinement
from denoscope.config import MAP_LANES, ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.noise.plane_noise import PlaneNoise
from denoscope.noise.planes import tile
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Tiles:
    """The maps of the parts of a plane; made by `tiles`.

    At level k the plane is cut into 2^k × 2^k parts. Part (x, y) is the x-th along u and the y-th along v.
    """

    labelling: Labelling
    plane: PlaneNoise
    cells: int
    audit: int
    cache: Path | None

    def __call__(self, level: int, x: int, y: int) -> xarray.Dataset:
        """The finished map of a part, as `basins.map` returns it.

        Raises: UserError if the plane has no such part, or its cells are too close to be told apart.
        """
        *_, finished = self.refinements(level, x, y)
        return finished

    def refinements(self, level: int, x: int, y: int) -> Iterator[xarray.Dataset]:
        """The map of a part as it becomes finer; the last one is finished.

        In the others, cells that are not computed have the values of the nearest computed one. Whoever stops iterating
        cancels the work; what was computed is in the cache.

        Raises: UserError as above.
        """
        part = tile(self.plane, level, x, y, self.cells)
        grid = PlaneGrid.of(part)
        options = {"method": "adaptive", "block": block_of(grid.shape), "audited": self.audit}
        data = blank_map(grid, self.labelling, options)
        with (
            point_cache.opened(self.cache, self.labelling, part) as points,
            self.labelling.ready() as ready,
        ):
            cells = MapCells(ready, part, grid, data, self.labelling.loop.lanes, points)
            for _ in cells.refine(Refinement.of(grid), audit=self.audit):
                yield cells.preview()
        yield data


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
    lanes: int = MAP_LANES,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    fast: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> Tiles:
    """Adaptive maps of the parts of a plane at every level, each computed when it is asked for.

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
    grid = parse_plane(plane, denoiser)
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes)
    labelling = parse_labelling(
        denoiser, classifier=classifier, reject=reject, loop=loop, condition=condition, fast=fast
    )
    # A float64 network can tell noises apart that float32 cannot, which deep levels need.
    dtype = denoiser.dtype if denoiser.dtype == torch.float64 else grid.plane.dtype
    return Tiles(
        labelling,
        dataclasses.replace(grid.plane, dtype=dtype),
        parse_integer(cells, "cells", minimum=2),
        parse_integer(audit, "audit"),
        parse_cache(cache, labelling, plane),
    )
