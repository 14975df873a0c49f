"""A plane of labels: checked, and looked at through square windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from denoscope.dynamics.statistics.draws import as_array
from denoscope.foundation.errors import UserError
from denoscope.models.classifier.labels import REJECTED

COUNTED = 2**16
"""Number of possible labels up to which they are counted to see which occur."""


def checked_labels(labels: Any, *, least_classes: int = 2) -> np.ndarray:
    """The labels [ny, nx] as small whole numbers, refused where they are no plane of several classes.

    The reject class −1 is a class like any other: what is no digit also has a basin and a boundary.
    """
    labels = as_array(labels, "labels")
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise UserError(
            f"labels are {labels.dtype} of shape {labels.shape}; allowed: whole numbers [ny, nx], "
            "−1 for what belongs to no class"
        )
    # A bound that keeps every class in 32 bits, and wrong fill values such as −9999 out.
    if labels.size and not REJECTED <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise UserError(
            f"labels run from {labels.min()} to {labels.max()}; allowed: 0 to {2**31 - 1}, −1 for no class"
        )
    found = classes_of(labels)
    if len(found) < least_classes:
        raise UserError(
            f"labels hold {len(found)} classes ({', '.join(map(str, found))}); allowed: at least {least_classes}; "
            "take a wider plane or other directions"
        )
    return labels.astype(np.int8 if found[-1] < 128 else np.int32)


def classes_of(labels: np.ndarray) -> np.ndarray:
    """The labels that occur, ascending."""
    if not labels.size or labels.dtype.kind == "b" or int(labels.max()) >= COUNTED:
        return np.unique(labels)
    # Counting takes a tenth of the time of sorting a plane of millions of cells.
    return np.flatnonzero(np.bincount(labels.ravel().astype(np.int64) - REJECTED)) + REJECTED


def doubling_boxes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides in cells of boxes that span 1, 2, 4, … spacings, up to a fifth of the grid; three at least."""
    sides = tuple(2**k + 1 for k in range(10) if 2**k + 1 <= min(shape) / 5)
    if len(sides) < 3:
        raise UserError(
            f"the plane has {shape[0]}×{shape[1]} cells; allowed: at least 25×25, and 85×85 to see a fractal"
        )
    return sides


def checked_boxes(
    boxes: Any, shape: tuple[int, ...], *, least: int, smallest: int = 2, part: int = 1
) -> tuple[int, ...]:
    """Different box sides in cells, smallest first, none wider than the grid divided by `part`."""
    sides = as_array(boxes, "boxes")
    if sides.ndim != 1 or sides.dtype.kind not in "iu" or len(set(sides.tolist())) < max(least, 1):
        raise UserError(
            f"boxes are {boxes!r}; allowed: at least {least} different whole numbers of cells, as 5, 10, 20"
        )
    ordered = tuple(sorted(set(map(int, sides))))
    widest = min(shape) // part
    if ordered[0] < smallest or ordered[-1] > widest:
        raise UserError(
            f"boxes run from {ordered[0]} to {ordered[-1]} cells; allowed: {smallest} to {widest}, "
            f"for the grid has {shape[0]}×{shape[1]} cells; take smaller boxes or a finer grid"
        )
    return ordered


def mixed_windows(labels: np.ndarray, side: int) -> np.ndarray:
    """Which of the windows of `side`² cells, one at every place of the grid, hold more than one label."""
    return _over_windows(np.minimum, labels, side) != _over_windows(np.maximum, labels, side)


def windows_with(wanted: np.ndarray, side: int) -> np.ndarray:
    """Which of the windows of `side`² cells hold at least one of the cells marked in `wanted`."""
    return _over_windows(np.logical_or, wanted, side)


def _over_windows(
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray], cells: np.ndarray, side: int
) -> np.ndarray:
    """An idempotent operation over all windows, in log₂(side) passes along each axis."""
    for _ in range(2):
        cells, width = cells.T, 1
        while 2 * width <= side:
            cells, width = combine(cells[:-width], cells[width:]), 2 * width
        if rest := side - width:
            cells = combine(cells[:-rest], cells[rest:])
    return cells


def described(labels: np.ndarray, boxes: Sequence[int] = ()) -> dict[str, Any]:
    """What a result says of the plane it was computed from."""
    grid = {"grid": list(labels.shape), "classes": classes_of(labels).tolist()}
    return grid | ({"boxes": list(boxes)} if boxes else {})
