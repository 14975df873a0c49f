"""The grid of a plane of noises: rows y along v, columns x along u."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.foundation import memory
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_frame import AnchoredFrame
from denoscope.noise.plane_noise import PlaneNoise
from denoscope.noise.planes import on_frame, parse_geometry, plane

CELL_BYTES = 130
"""The memory of one noise in a measure of a plane, beside the calls of the network: its position, what is known of it, and
copies of both. Measured at the peak of an adaptive map with `reject`; that of an exact map is 80 to 120."""


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """The plane that noises form, in any order."""

    plane: PlaneNoise
    rows: np.ndarray
    """The row of each noise."""
    columns: np.ndarray
    """The column of each noise."""
    made_with: Mapping[str, Any]
    """The parameters with which the noises of the plane were made."""

    @classmethod
    def of(cls, noises: NoiseSet) -> PlaneGrid:
        """The grid of noises that `noise.plane` or `noise.plane_through` made, or that `noise.read` read from a folder
        with one plane.

        Raises: UserError if the noises are not one whole plane.
        """
        if isinstance(noises, NoiseSet):
            memory.check_fits(CELL_BYTES * len(noises), f"{spelled('plane')} of {len(noises):,} noises")
        if isinstance(noises, PlaneNoise):
            columns, rows = np.divmod(np.arange(len(noises)), noises.counts[1])
            return cls(noises, rows, columns, noises.parameters)
        if not isinstance(noises, NoiseSet):
            raise UserError(
                f"{spelled('plane')} is {describe(noises)}; allowed: a plane of noises: "
                "noise.plane((25, 41), denoiser.shape)"
            )
        sets = noises.parameters.get("sets", [noises.parameters])
        if len(sets) != 1 or sets[0].get("kind") != "plane" or {"u", "v"} - set(noises.coords):
            raise UserError(
                f"{spelled('plane')} is not a plane of noises; make one with noise.plane((25, 41), denoiser.shape) or "
                "denoscope noise plane"
            )
        made_with = {name: value for name, value in sets[0].items() if name != "samples"}
        through = "anchors_sha256" in made_with
        options = ("lengths", "center", *(() if through else ("base_seed", "direction_seeds")))
        if missing := [name for name in ("counts", *options) if name not in made_with]:
            raise UserError(
                f"{spelled('plane')} has a JSON file without {', '.join(missing)}; write its noises again"
            )
        u, columns = np.unique(noises.coords["u"], return_inverse=True)
        v, rows = np.unique(noises.coords["v"], return_inverse=True)
        if [len(u), len(v)] != list(made_with["counts"]) or len(noises) != len(u) * len(v):
            along_u, along_v = made_with["counts"]
            raise UserError(
                f"{spelled('plane')} has {len(noises)} of the noises of a plane of {along_u}×{along_v}; give all of them"
            )
        if through:
            return cls(_fitted(noises, made_with, rows, columns), rows, columns, made_with)
        given = [name for name in (*options, "geometry", "endpoint") if name in made_with]
        whole = plane(made_with["counts"], noises.shape, **{name: made_with[name] for name in given})
        return cls(whole, rows, columns, made_with)

    def noise_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The numbers of the noises in these cells."""
        return self._numbers[rows, columns]

    @functools.cached_property
    def _numbers(self) -> np.ndarray:
        numbers = np.empty(self.shape, np.int64)
        numbers[self.rows, self.columns] = np.arange(len(self.rows))
        return numbers

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return len(self.plane.v), len(self.plane.u)

    @property
    def coords(self) -> dict[str, tuple[str, np.ndarray]]:
        """Coordinates of an xarray.Dataset with dimensions (y, x)."""
        return {"u": ("x", self.plane.u), "v": ("y", self.plane.v)}


def _fitted(
    noises: NoiseSet, made_with: Mapping[str, Any], rows: np.ndarray, columns: np.ndarray
) -> PlaneNoise:
    """A plane through three states, of which a folder holds the noises but not the states, to the rounding of the noises.

    Raises: UserError if all noises lie on one line, or coordinates are not finite.
    """
    ends = [{0, int(places.max()) // 2, int(places.max())} for places in (rows, columns)]
    if 1 in map(len, ends):
        raise UserError(
            f"{spelled('plane')} goes through three states, which are not in its folder, and one line of noises does not tell "
            "where; make it with noise.plane_through again"
        )
    chosen = np.flatnonzero(np.isin(rows, list(ends[0])) & np.isin(columns, list(ends[1])))
    points = np.stack([noises.coords["u"][chosen], noises.coords["v"][chosen]], 1)
    if not np.isfinite(points).all():
        raise UserError(
            f"{spelled('plane')} has a JSON file with coordinates that are not finite; write its noises again"
        )
    geometry = parse_geometry(made_with.get("geometry", "flat"))
    frame = AnchoredFrame.fitted(torch.from_numpy(points), noises.batch(chosen.tolist()), geometry)
    return on_frame(
        made_with["counts"],
        made_with["lengths"],
        made_with["center"],
        frame,
        geometry,
        made_with.get("endpoint", True),
    )
