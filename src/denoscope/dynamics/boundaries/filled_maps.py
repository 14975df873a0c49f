"""Planes of labels that the audit of a map with filled cells allows, from which measures learn what it leaves open.

Every two neighbouring cells with different labels are computed, so that a map shows no boundary that does not exist. What
it may miss are islands in its filled areas. How large they are is unknown, and the sides of boxes decide how much they
count: hence three layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.boundaries.label_plane import classes_of, mixed_windows
from denoscope.foundation.spelling import spelled

CONFIDENCE = 0.95
"""The level of the audit's bound for measures whose results have no confidence level."""
ISLAND = 4
"""Side of an island in cells: that of the smallest blocks that a map fills without computing a cell inside."""
GAP = 2.0
"""The smallest distance of a missed cell from the boundary, in cells: nearer ones are computed."""


def allowed_planes(labels: np.ndarray, audit: Audit, confidence: float = CONFIDENCE) -> Iterator[np.ndarray]:
    """Planes [ny, nx] with as many other labels as the audit allows, far from the boundaries that a map shows.

    The cells are scattered one by one, in islands of 4×4 cells, and as near to the boundary as can be, and at most half of
    the cells there: with two classes, a plane whose cells are all wrong looks as if all were right. There are no planes if no
    filled cell can be wrong.
    """
    if not (missed := audit.missed(confidence)):
        return
    draws = np.random.default_rng([missed, labels.size])
    distance = ndimage.distance_transform_edt(~mixed_windows(np.pad(labels, 1, mode="edge"), 3))
    cells = draws.permutation(np.flatnonzero(distance >= GAP))
    missed = min(missed, -(-len(cells) // 2))
    by_distance = cells[np.argsort(distance.flat[cells], kind="stable")]
    for places in (cells[:missed], _islands(cells, labels.shape, missed), by_distance[:missed]):
        yield _with_other_labels(labels, places, draws)


def enough_checks(labels: np.ndarray, audit: Audit, keeps: Callable[[np.ndarray], bool]) -> int | None:
    """How many checked cells, none of them wrong, would leave only planes with a property; None if half of them would not.

    The number is a half, a quarter, … of the filled cells.

    Args:
        keeps: whether a plane [ny, nx] has the property.
    """
    enough, count = None, audit.filled // 2
    while count > audit.checked:
        checked = Audit(filled=audit.filled, checked=count, wrong=0)
        if not all(keeps(plane) for plane in allowed_planes(labels, checked)):
            break
        enough, count = count, count // 2
    return enough


def _islands(cells: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray:
    """`count` of the cells, in islands around the first of them."""
    firsts = cells[: -(-2 * count // ISLAND**2)]
    step = np.arange(ISLAND)
    rows, columns = (
        np.add.outer(index, steps).reshape(len(firsts), -1)
        for index, steps in zip(
            np.divmod(firsts, shape[1]), np.meshgrid(step, step, indexing="ij"), strict=True
        )
    )
    inside = (rows < shape[0]) & (columns < shape[1])
    places = (rows * shape[1] + columns)[inside]
    places = places[np.isin(places, cells)]
    _, first_seen = np.unique(places, return_index=True)
    return places[np.sort(first_seen)][:count]


def _with_other_labels(labels: np.ndarray, places: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """The labels, with a random other class of the plane at these places."""
    classes, planted = classes_of(labels), labels.copy()
    number = np.searchsorted(classes, labels.flat[places])
    turn = draws.integers(1, len(classes), len(places))
    planted.flat[places] = classes[(number + turn) % len(classes)]
    return planted


def more_checks(audit: Audit, confidence: float = CONFIDENCE) -> str:
    """What to do where the audit leaves too much open."""
    return (
        f"up to {audit.missed(confidence)} of {audit.filled} filled cells may be wrong ({confidence:.0%}), as "
        f"{audit.checked} were checked; map again with a larger {spelled('audit')}, or {spelled('method', 'exact')}"
    )
