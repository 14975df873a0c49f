"""Planes of labels: validation, classes, and moving windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.models.classifier.labels import REJECTED

COUNTED = 2**16
"""Largest label up to which the classes are found by counting rather than by sorting."""


def parse_labels(labels: Any, *, least_classes: int = 2) -> np.ndarray:
    """The labels [ny, nx] of a map of basins, a tensor, an array of NumPy or xarray, or a list, as int8 or int32.

    The reject class −1 is a class: images that are rejected also have a basin with a boundary.

    Raises: UserError if they are not integers of a plane, or of fewer classes.
    """
    labels = label_array(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise UserError(
            f"labels are {labels.dtype} of shape {list(labels.shape)}; allowed: integers [ny, nx], −1 for no class"
        )
    # The bounds make every class fit into 32 bits, and exclude fill values such as −9999.
    if labels.size and not REJECTED <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise UserError(
            f"labels range from {labels.min()} to {labels.max()}; allowed: 0 to {2**31 - 1}, −1 for no class"
        )
    classes = classes_of(labels)
    if len(classes) < least_classes:
        raise UserError(
            f"labels hold {len(classes)} classes ({', '.join(map(str, classes))}); allowed: at least {least_classes}; "
            "take a wider plane or other directions"
        )
    return labels.astype(np.int8 if classes[-1] < 128 else np.int32)


def label_array(labels: Any) -> np.ndarray:
    """Labels of any shape as an array, those of a map of basins from its `label`."""
    return parse_array(_of_map(labels), "labels")


def _of_map(labels: Any) -> Any:
    """The labels of a map of basins; everything else as it is.

    Raises: UserError if the dataset is no map, or the map is not finished.
    """
    import xarray

    if not isinstance(labels, xarray.Dataset):
        return labels
    if not {"label", "computed"} <= set(labels.data_vars):
        raise UserError(
            f"labels is a Dataset of {', '.join(map(str, labels.data_vars)) or 'nothing'}; allowed: a map of ds.basins.map, "
            "or integers [ny, nx]"
        )
    known = labels["status"] > 0 if "status" in labels else labels["computed"]
    if unknown := int((~known).sum()):
        raise UserError(
            f"labels is a map with {unknown} of {known.size} cells unknown; allowed: a finished map; resume it"
        )
    return labels["label"]


def classes_of(labels: np.ndarray) -> np.ndarray:
    """The distinct labels in ascending order."""
    if not labels.size or labels.dtype.kind == "b" or int(labels.max()) >= COUNTED:
        return np.unique(labels)
    # Counting takes a tenth of the time of sorting a plane of millions of cells.
    return np.flatnonzero(np.bincount(labels.ravel().astype(np.int64) - REJECTED)) + REJECTED


def beside_boundary(labels: np.ndarray) -> np.ndarray:
    """Whether each cell [ny, nx] differs from one of its four neighbours."""
    beside = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    beside[:, 1:] |= across
    beside[:, :-1] |= across
    beside[1:] |= down
    beside[:-1] |= down
    return beside


def nearest_known(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the nearest known cell of each cell, [ny, nx] or broadcast to it; a known cell is its own nearest one."""
    if known.all():
        rows, columns = np.ogrid[: known.shape[0], : known.shape[1]]
        return rows, columns
    from scipy import ndimage

    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return rows, columns


def doubling_boxes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides in cells of at least three boxes that span 1, 2, 4, … spacings, up to a fifth of the plane.

    Raises: UserError if the plane is too small.
    """
    sides = tuple(2**k + 1 for k in range(10) if 2**k + 1 <= min(shape) / 5)
    if len(sides) < 3:
        raise UserError(
            f"the plane has {shape[0]}×{shape[1]} cells; allowed: at least 25×25, and 85×85 to detect a fractal"
        )
    return sides


def parse_boxes(
    boxes: Any, shape: tuple[int, ...], *, least: int, smallest: int = 2, part: int = 1
) -> tuple[int, ...]:
    """Distinct sides of boxes in cells in ascending order.

    Raises: UserError if they are fewer than `least`, smaller than `smallest` or wider than the plane divided by `part`.
    """
    sides = parse_array(boxes, "boxes")
    if sides.ndim != 1 or sides.dtype.kind not in "iu" or len(set(sides.tolist())) < max(least, 1):
        raise UserError(
            f"{spelled('boxes')} is {describe(boxes)}; allowed: at least {least} different whole numbers of cells, such as 5, 10, 20"
        )
    ordered = tuple(sorted(set(map(int, sides))))
    widest = min(shape) // part
    if widest < smallest:
        raise UserError(
            f"the plane has {shape[0]}×{shape[1]} cells; allowed: at least {smallest * part} along each axis, for boxes of "
            f"{smallest} cells"
        )
    if ordered[0] < smallest or ordered[-1] > widest:
        raise UserError(
            f"{spelled('boxes')} range from {ordered[0]} to {ordered[-1]} cells; allowed: {smallest} to {widest} on a plane of "
            f"{shape[0]}×{shape[1]} cells; take smaller boxes or a finer plane"
        )
    return ordered


def mixed_windows(labels: np.ndarray, side: int) -> np.ndarray:
    """Whether each window of side² cells holds more than one label, for windows at all positions of the plane."""
    return _over_windows(np.minimum, labels, side) != _over_windows(np.maximum, labels, side)


def windows_with(marked: np.ndarray, side: int) -> np.ndarray:
    """Whether each window of side² cells holds at least one of the cells that are marked."""
    return _over_windows(np.logical_or, marked, side)


def _over_windows(
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray], cells: np.ndarray, side: int
) -> np.ndarray:
    """An idempotent operation over all windows, in log₂(side) passes along each axis.

    `scipy.ndimage.minimum_filter` and `maximum_filter` give the same numbers in three to thirty times the time.
    """
    for _ in range(2):
        cells, width = cells.T, 1
        while 2 * width <= side:
            cells, width = combine(cells[:-width], cells[width:]), 2 * width
        if rest := side - width:
            cells = combine(cells[:-rest], cells[rest:])
    return cells


def plane_origin(labels: np.ndarray, boxes: Sequence[int] = ()) -> dict[str, Any]:
    """The entries of a result's `origin` that describe the plane it was computed from."""
    grid = {"grid": list(labels.shape), "classes": classes_of(labels).tolist()}
    return grid | ({"boxes": list(boxes)} if boxes else {})
