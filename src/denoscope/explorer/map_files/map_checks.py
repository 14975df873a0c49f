"""What a file must hold to be shown as a map of basins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoscope.basins.refinement import STATUSES
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

if TYPE_CHECKING:
    import xarray

LARGEST_LABEL = 250
LISTED = 4
"""Arrays that a message lists."""
UNEVEN = 1e-6
"""The part of a spacing by which spacings may differ."""
FARTHEST = 1e6
"""The largest coordinate (L2)."""
CELLS = ("y", "x")
KINDS = {
    "label": "iu",
    "computed": "b",
    "status": "iu",
    "confidence": "f",
    "margin": "f",
    "likeness": "f",
    "nonfinite": "b",
}
"""The kinds of dtypes of the arrays of cells."""
WRITER = "`denoscope basins map`"


def check_map(data: xarray.Dataset, path: Path) -> None:
    """Refuse a dataset that is not a map of basins, or one with cells that this version does not know.

    Raises: UserError
    """
    needed = {"label": CELLS, "computed": CELLS, "u": ("x",), "v": ("y",)}
    if any(name not in data.variables or data[name].dims != dims for name, dims in needed.items()):
        raise UserError(
            f"{path} holds {_arrays(data)}, and no map of basins; give one that {WRITER} has written"
        )
    for name, kinds in KINDS.items():
        if name in data and (data[name].dims != CELLS or data[name].dtype.kind not in kinds):
            raise _other_version(
                path, f"{name} is {data[name].dtype} ({', '.join(map(str, data[name].dims))})"
            )
    for name in ("u", "v"):
        if not _evenly_spaced(data[name].to_numpy()):
            raise _other_version(path, f"{name} is not evenly spaced, within ±{FARTHEST:g}")
    _check_range(path, "label", data["label"].to_numpy(), -1, LARGEST_LABEL)
    if "status" in data:
        _check_range(path, "status", data["status"].to_numpy(), 0, len(STATUSES) - 1)
    if not (data["status"] > 0 if "status" in data else data["computed"]).any():
        raise UserError(
            f"{path} holds no computed cell yet; resume it with {WRITER} ({spelled('resume', True)})"
        )


def _check_range(path: Path, name: str, values: np.ndarray, least: int, most: int) -> None:
    if values.size and not least <= int(values.min()) <= int(values.max()) <= most:
        raise _other_version(path, f"{name} is {values.min()} to {values.max()}; allowed: {least} to {most}")


def _other_version(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path}: {problem}; it is damaged, or another version of denoscope wrote it: map it again with {WRITER}"
    )


def _evenly_spaced(axis: np.ndarray) -> bool:
    if axis.dtype.kind != "f" or not axis.size or not (np.abs(axis) <= FARTHEST).all():
        return False
    if len(axis) == 1:
        return True
    steps = np.diff(axis)
    allowed = UNEVEN * steps.mean() + 8 * np.spacing(np.abs(axis).max())
    return bool((steps > 0).all() and np.ptp(steps) <= allowed)


def _arrays(data: xarray.Dataset) -> str:
    """The first arrays of a file with their dimensions."""
    arrays = [f"{name} ({', '.join(map(str, array.dims))})" for name, array in data.data_vars.items()]
    more = f" and {len(arrays) - LISTED} more" if arrays[LISTED:] else ""
    return ", ".join(arrays[:LISTED]) + more or "nothing"
