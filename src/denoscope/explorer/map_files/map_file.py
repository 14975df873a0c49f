"""A stored map of basins as tiles: what a page shows of it without a model."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.refinement import COMPUTED, STATUSES, UNKNOWN
from denoscope.explorer.map_files.map_checks import check_map
from denoscope.explorer.map_files.map_grid import MapGrid
from denoscope.explorer.tile_address import CELLS, CellAddress, TileAddress
from denoscope.explorer.tile_picture import TilePicture
from denoscope.foundation.reading import result_files
from denoscope.foundation.spelling import spelled

if TYPE_CHECKING:
    import xarray

SHARES = ("confidence", "margin")
OUTSIDE = 255
"""The status of places outside of the map, and of cells that are not known yet; a page leaves them empty."""
ADVICE = "give a map of basins, as `denoscope basins map` writes it"


@dataclass(frozen=True, eq=False)
class MapFile:
    """The cells of a map, which may be unfinished."""

    data: xarray.Dataset
    name: str
    """The name of the map in links: that of its file."""

    @classmethod
    def open(cls, path: Path) -> MapFile:
        """The map in a file.

        Raises: UserError if the file is missing or damaged, holds no map of this version, or no cell of the map is known.
        """
        data = result_files.read(path, advice=ADVICE)
        check_map(data, path)
        return cls(data, os.path.basename(path))

    @functools.cached_property
    def grid(self) -> MapGrid:
        return MapGrid.of(self.data["u"].to_numpy(), self.data["v"].to_numpy())

    @functools.cached_property
    def status(self) -> np.ndarray:
        """How the label of each cell [ny, nx] is known, by the numbers of an adaptive map."""
        if "status" in self.data:
            return self.data["status"].to_numpy()
        return np.where(self.data["computed"].to_numpy(), COMPUTED, UNKNOWN)

    def description(self) -> dict[str, Any]:
        """Everything that a page needs to show the map, as JSON values."""
        unknown = int((self.status == UNKNOWN).sum())
        left = f"{self.status.size - unknown:,} of {self.status.size:,} cells are known; resume the map ({spelled('resume', True)})"
        return {
            "scene": {"map": self.name},
            "map": True,
            "summary": f"{self._summary}: {left}" if unknown else self._summary,
            "models": [],
            "scheduler": "",
            "length": text_of(self.grid.side),
            "middle": [text_of(value) for value in self.grid.middle],
            "spacing": list(self.grid.spacing),
            "deepest": self.grid.deepest,
            "float32_to": self.grid.deepest,
            "growth": False,
            "unstored": [name for name in SHARES if name not in self.data],
            "classes": int(self.data["label"].max()) + 1,
            "layers": [],
        }

    def tile(self, address: TileAddress) -> TilePicture:
        """A tile, each of its cells with the values of the nearest cell of the map."""
        columns, rows = (
            self.grid.index(axis, range(CELLS * part, CELLS * (part + 1)), address.level)
            for axis, part in enumerate((address.x, address.y))
        )
        inside = (rows >= 0)[:, None] & (columns >= 0)
        planes = np.where(inside, self._planes[:, rows][:, :, columns], 0).astype(np.uint8)
        planes[3, ~inside] = OUTSIDE
        return TilePicture(planes, finished=True)

    def cell(self, address: CellAddress) -> dict[str, Any]:
        """What the file says about the cell of the map at a cell of the page's lattice, as JSON values.

        `cell` is the address that stands for the cell of the map at all levels.
        """
        column, row = (
            int(self.grid.index(axis, [place], address.level)[0])
            for axis, place in enumerate((address.i, address.j))
        )
        if min(column, row) < 0:
            return {"cell": str(address), "status": "outside"}
        answer: dict[str, Any] = {
            "cell": str(CellAddress(self.grid.deepest, *self.grid.lattice(column, row))),
            "row": row,
            "column": column,
            "u": float(self.data["u"][column]),
            "v": float(self.data["v"][row]),
            "status": STATUSES[self.status[row, column]],
        }
        if answer["status"] == STATUSES[UNKNOWN]:
            return answer
        answer["label"] = int(self.data["label"][row, column])
        answer["finite"] = not ("nonfinite" in self.data and bool(self.data["nonfinite"][row, column]))
        if self.status[row, column] == COMPUTED:
            shares = [name for name in (*SHARES, "likeness") if name in self.data]
            values = {name: float(self.data[name][row, column]) for name in shares}
            answer |= {name: None if math.isnan(value) else value for name, value in values.items()}
        return answer

    @functools.cached_property
    def _planes(self) -> np.ndarray:
        """The planes of a tile picture for the whole map."""
        planes = TilePicture.of(self.data, finished=True).planes
        planes[3] = np.where(self.status == UNKNOWN, OUTSIDE, self.status)
        return planes

    @property
    def _summary(self) -> str:
        ny, nx = self.status.shape
        model, steps = self._attribute("model"), self._attribute("fingerprint", "num_steps")
        scheduler, classifier = self._attribute("fingerprint", "scheduler"), self._attribute("classifier")
        made = [model, scheduler and f"{scheduler}, {steps} steps", classifier]
        return " · ".join([f"{self.name}: {nx} × {ny} cells", *filter(None, made)])

    def _attribute(self, *names: str) -> str:
        """The text of a nested attribute of the file; empty if the file does not have it."""
        value: Any = self.data.attrs
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return str(value)[:80] if isinstance(value, (str, int)) else ""


def text_of(value: float) -> str:
    """A number as decimal text without an exponent."""
    return f"{Decimal(repr(value)):f}"
