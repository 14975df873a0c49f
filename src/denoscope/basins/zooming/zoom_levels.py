"""The levels of a zoom: maps of smaller and smaller parts of a plane around one point of a boundary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray

from denoscope.basins.blank_map import blank_map
from denoscope.basins.labelling import Labelling
from denoscope.basins.map_cells import MapCells
from denoscope.basins.methods import is_adaptive
from denoscope.basins.zooming import level_measures
from denoscope.basins.zooming.random_cells import random_cells
from denoscope.basins.zooming.rounding_floor import REPEATS, changes_with_rounding, rows_of_checks
from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.label_plane import beside_boundary
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.noise.plane_noise import PlaneNoise

UNSTABLE = 0.05
"""The share of boundary cells whose labels rounding decides above which a zoom ends."""
FLOOR = (
    "rounding decides the labels of {share:.1%} of the boundary cells of level {level}: they change with the number of lanes "
    "or threads, or with the last bit of x_T; allowed: {allowed:.0%}"
)
LOST = "level {level} has one label: rounding decides where the boundary is"


@dataclass(frozen=True, eq=False)
class ZoomLevels:
    """The levels of a zoom in `data`, which is filled in place and has the options of the zoom as attributes."""

    labelling: Labelling
    plane: PlaneNoise
    """The first level, with the point of the boundary in its middle."""
    data: xarray.Dataset
    batch_size: int

    def compute(self) -> Iterator[int]:
        """Compute the levels that are not finished until the zoom ends, and yield the number of finished ones after each."""
        finished = self.data["finished"].values
        for level in range(len(finished)):
            if not finished[level]:
                self._compute(level)
                finished[level] = True
                yield level + 1
            if self._ends(level):
                return

    def part(self, level: int) -> PlaneNoise:
        """The noises of a level, whose cells lie symmetrically about the middle, none on it."""
        along_u, along_v = (length / self.data.attrs["factor"] ** level for length in self.plane.lengths)
        half_cell = along_u / self.plane.counts[0] / 2, along_v / self.plane.counts[1] / 2
        return dataclasses.replace(self.plane, lengths=(along_u, along_v), center=half_cell, endpoint=False)

    def _compute(self, level: int) -> None:
        part = self.part(level)
        found = self._map(part)
        for name in found.data_vars:
            self.data[name].values[level] = found[name].values
        self.data["u"].values[level], self.data["v"].values[level] = part.u, part.v
        checked = self._check(level, part)
        audit = audit_of(found)
        labels, loop = found["label"].values, self.labelling.loop
        measured: dict[str, object] = {
            "growth": level_measures.growth(self.labelling, part),
            "denoised": int(found["computed"].sum()) + REPEATS * checked + 2 * level_measures.DIRECTIONS,
            "network_rows": found.attrs["network_rows"]
            + rows_of_checks(loop, checked)
            + loop.rows_of_whole_calls(2 * level_measures.DIRECTIONS),
            **dataclasses.asdict(audit),
            **audit.bounds,
        }
        if np.ptp(labels):
            measured |= level_measures.of_labels(found["label"], part, seed=level)
        for name, value in measured.items():
            self.data[name].values[level] = value

    def _map(self, part: PlaneNoise) -> xarray.Dataset:
        """The map of a level."""
        grid, options = PlaneGrid.of(part), self.data.attrs
        adaptive = is_adaptive(options["method"], grid.shape)
        data = blank_map(grid, self.labelling.nothing, {}, adaptive=adaptive)
        for _ in MapCells(self.labelling, part, grid, data, self.batch_size).fill(options["audited"]):
            pass
        return data

    def _check(self, level: int, part: PlaneNoise) -> int:
        """Mark the boundary cells whose label rounding decides, among random ones; return their number."""
        names = ("label", "computed", "rounding_checked", "unstable")
        label, computed, checked, unstable = (self.data[name].values[level] for name in names)
        cells = random_cells(computed & beside_boundary(label), self.data.attrs["rounding_checks"], level)
        if count := len(cells[0]):
            x_T = part.batch(PlaneGrid.of(part).noise_at(*cells).tolist())
            draws = np.random.default_rng([level, count])
            checked[cells] = True
            unstable[cells] = changes_with_rounding(self.labelling, x_T, label[cells], draws)
            self.data["unstable_share"].values[level] = unstable.sum() / count
        return count

    def _ends(self, level: int) -> bool:
        """Whether the zoom ends at a finished level, for a reason that is then noted."""
        share = float(self.data["unstable_share"][level])
        if not np.ptp(self.data["label"].values[level]):
            self.data.attrs["stopped"] = LOST.format(level=level)
        elif share > UNSTABLE:
            self.data.attrs["stopped"] = FLOOR.format(share=share, level=level, allowed=UNSTABLE)
        return bool(self.data.attrs["stopped"])
