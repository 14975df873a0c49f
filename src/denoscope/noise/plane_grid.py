"""The grid that a plane of noises is: rows y along v, columns x along u."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe
from denoscope.noise.noises import NoiseSet


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """Coordinates `u` [nx] and `v` [ny] of columns and rows, and the row and column of each noise of the set.

    `made_with` is what the plane was made with: seeds, centre, lengths.
    """

    u: np.ndarray
    v: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    made_with: Mapping[str, Any]

    @classmethod
    def of(cls, plane: NoiseSet) -> PlaneGrid:
        """The grid of a plane, as `noise.plane` makes it or `noise.read` finds it, in whatever order its noises are.

        Raises: UserError if the noises are no plane.
        """
        if not isinstance(plane, NoiseSet):
            raise UserError(
                f"plane is {describe(plane)}; needed is a plane of noises: noise.plane((25, 41), denoiser.shape)"
            )
        sets = plane.parameters.get("sets", [plane.parameters])
        if len(sets) != 1 or sets[0].get("kind") != "plane" or {"u", "v"} - set(plane.coords):
            raise UserError(
                "these noises are no plane; make one: noise.plane((25, 41), denoiser.shape), or denoscope noise plane"
            )
        u, columns = np.unique(plane.coords["u"], return_inverse=True)
        v, rows = np.unique(plane.coords["v"], return_inverse=True)
        made_with = {name: value for name, value in sets[0].items() if name != "samples"}
        if [len(u), len(v)] != list(made_with["counts"]) or len(plane) != len(u) * len(v):
            along_u, along_v = made_with["counts"]
            raise UserError(
                f"these {len(plane)} noises are a part of a plane of {along_u}×{along_v}; give all of it"
            )
        return cls(u, v, rows, columns, made_with)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return len(self.v), len(self.u)

    @property
    def coords(self) -> dict[str, tuple[str, np.ndarray]]:
        """Those of an xarray.Dataset with dimensions (y, x)."""
        return {"u": ("x", self.u), "v": ("y", self.v)}
