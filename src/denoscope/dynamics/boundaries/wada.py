"""The Wada test: whether every boundary point is a boundary point of all basins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.disorder import NOISY, cell_disorder
from denoscope.dynamics.boundaries.filled_maps import allowed_planes, more_checks
from denoscope.dynamics.boundaries.label_plane import (
    classes_of,
    mixed_windows,
    parse_boxes,
    parse_labels,
    plane_origin,
    windows_with,
)
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_array, parse_confidence
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe
from denoscope.models.classifier.labels import REJECTED

Reading = Literal["wada", "not wada", "undecided"]
SEEN = 0.95
"""This share of the boundary boxes counts as all of them, because the cells cut off the finest structure."""
NARROW, AROUND, FILLED = 3, 5, 0.3
"""Basins may alias if, for this share of the boundary boxes of 3² cells, all boxes at 5² places around hold a boundary too.
The share is 0.05 for Newton's basins at any resolution, and 0.95 for stripes of up to 2 cells."""
STABLE, FALLING = 0.9, 0.7
"""Basins may be Wada if W/W(half resolution) is at least STABLE (it is 1 for Wada basins), and are not if it is below
FALLING (it is 1/2 if classes meet at points)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wada(Result):
    """The share of boundary boxes with all classes [box], its interval [box, 2], and the same at half the resolution.

    `seen_at` is the smallest side in cells at which 95 % of the boundary boxes hold all classes, None if there is none.
    `resolution_ratio` is the smallest ratio of the share to that at half the resolution, `reading` the conclusion.
    """

    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("boxes", "fractions", "intervals", "coarse_fractions"), "boxes"
    )
    boxes: tuple[int, ...]
    fractions: np.ndarray
    intervals: np.ndarray
    coarse_fractions: np.ndarray
    seen_at: int | None
    resolution_ratio: float | None
    reading: Reading
    confidence: float = 0.95


@calls_checked
def wada(
    labels: Any,
    *,
    boxes: Sequence[int] = (3, 5, 9, 17, 33),
    classes: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> Wada:
    """The share of boundary boxes that hold all classes, for each box size: for Wada basins it is 1 down to the cells.

    W(b) = (boxes of b² cells with every class) / (boxes with more than one of them), over the boxes at all places of
    the plane; other labels in a box are ignored. Dimensionless. With at least three classes, a box holds all of them
    exactly if it holds a piece of the boundary of each class against the rest. W is therefore the grid test and, with b
    as the fattening, the merging test.

    Interpretation: `reading` is "wada" if 95 % of the boundary boxes hold all classes at some of the sizes, and every
    second row and column of the labels gives the same W for the same number of cells. If classes meet at single points,
    W is the share of boxes near those points: it falls with the side, and doubles when the resolution is halved. W
    below 1 in the smallest boxes is expected even of Wada basins, because few cells hold few labels.

    Caveats: noise that differs between cells also gives 1, so its reading is "undecided". Basins narrower than about two
    cells also read "undecided", such as stripes of three colours with a period below five: they alias alike at both
    resolutions. A class that only fills a corner makes W small. Two classes cannot be tested. Cells prove nothing about
    smaller lengths.

    The intervals are Wilson's for the number of boxes that fit side by side along the boundary. For a map with filled cells
    they include the shares on planes with as many wrong cells as its audit allows, all of which must have the same reading.

    Args:
        labels: a map of basins or its `label`, or integers [ny, nx].
        boxes: sides in cells.
        classes: the classes to look for; by default all but −1.

    Raises: UserError if the labels are not a plane, a box does not fit, or there are fewer than three classes.

    Source: Daza, Wagemakers, Sanjuán, Yorke, Scientific Reports 5, 16579 (2015), without its refinement between cells;
    merging: Daza, Wagemakers, Sanjuán, Scientific Reports 8, 9954 (2018).
    """
    audit, labels, confidence = audit_of(labels), parse_labels(labels), parse_confidence(confidence)
    sides = parse_boxes(boxes, labels.shape, least=1)
    wanted = _parse_classes(classes, labels)
    measured = _measured(labels, sides, wanted, confidence)
    of_allowed = [
        _measured(plane, sides, wanted, confidence) for plane in allowed_planes(labels, audit, confidence)
    ]
    unsettled = {measured.reading, *(other.reading for other in of_allowed)} - {"undecided"}
    confirmed = all(other.reading == measured.reading for other in of_allowed)
    return dataclasses.replace(
        measured,
        intervals=_hull(measured, of_allowed),
        reading=measured.reading if confirmed else "undecided",
        origin={**measured.origin, **audit.origin},
        warnings=(
            *measured.warnings,
            *([] if confirmed or not unsettled else [more_checks(audit, confidence)]),
        ),
    )


def _hull(measured: Wada, of_allowed: Sequence[Wada]) -> np.ndarray:
    """The intervals [box, 2], extended to the shares of planes that an audit allows."""
    low, high = measured.intervals.T
    shares = np.array([measured.fractions, *(other.fractions for other in of_allowed)])
    return np.stack([np.fmin(low, np.fmin.reduce(shares)), np.fmax(high, np.fmax.reduce(shares))], axis=-1)


def _measured(labels: np.ndarray, sides: tuple[int, ...], wanted: tuple[int, ...], confidence: float) -> Wada:
    """The test of a plane whose labels are all right."""
    full, mixed = np.array([_count_windows(labels, side, wanted) for side in sides]).T
    coarse = np.array([_share(labels[::2, ::2], side, wanted) for side in sides])
    independent = np.maximum(mixed / np.array(sides) ** 2, 1)
    with np.errstate(invalid="ignore"):  # at sizes at which no two of the classes meet
        fractions = full / mixed
    ratios = [float(f / c) for f, c in zip(fractions, coarse, strict=True) if c > 0]
    seen_at = next((side for side, share in zip(sides, fractions, strict=True) if share >= SEEN), None)
    noisy, unseen = cell_disorder(labels) >= NOISY, bool(np.isnan(coarse).all())
    aliased = _filled_share(labels) >= FILLED
    return Wada(
        boxes=sides,
        fractions=fractions,
        intervals=wilson(fractions * independent, independent, confidence=confidence),
        coarse_fractions=coarse,
        seen_at=seen_at,
        resolution_ratio=min(ratios, default=None),
        reading="undecided" if noisy or unseen else _reading(seen_at, ratios, aliased),
        confidence=confidence,
        origin=plane_origin(labels, sides) | {"wanted": list(wanted)},
        warnings=_warnings(labels, wanted, independent[-1], noisy=noisy, unseen=unseen, aliased=aliased),
    )


def _parse_classes(classes: Sequence[int] | None, labels: np.ndarray) -> tuple[int, ...]:
    present = set(classes_of(labels).tolist())
    given = parse_array(list(present - {REJECTED}) if classes is None else classes, "classes")
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise UserError(
            f"classes are {describe(classes)}; allowed: at least three of the labels, such as (0, 1, 2)"
        )
    wanted = sorted(set(given.tolist()))
    if missing := set(wanted) - present:
        raise UserError(
            f"no cell has label {min(missing)}; the labels are {', '.join(map(str, sorted(present)))}"
        )
    if len(wanted) < 3:
        raise UserError(
            f"there are {len(wanted)} classes to look for; allowed: at least 3, because every boundary point of two "
            "classes belongs to both; take a plane with more classes, or include −1 in classes"
        )
    return tuple(wanted)


def _count_windows(labels: np.ndarray, side: int, wanted: Sequence[int]) -> tuple[int, int]:
    """The number of windows that hold all wanted classes, and the number that hold more than one of them."""
    held = np.sum([windows_with(labels == label, side) for label in wanted], axis=0)
    return int((held == len(wanted)).sum()), int((held > 1).sum())


def _share(labels: np.ndarray, side: int, wanted: Sequence[int]) -> float:
    """The share of mixed windows that hold all classes; NaN if the window does not fit or none is mixed."""
    full, mixed = _count_windows(labels, side, wanted) if side <= min(labels.shape) else (0, 0)
    return full / mixed if mixed else float("nan")


def _filled_share(labels: np.ndarray) -> float:
    """The share of boundary boxes whose surroundings consist of boundary boxes alone, without the inside of a basin."""
    near, inside = mixed_windows(labels, NARROW), NARROW + AROUND - 1
    filled = ~windows_with(~near, AROUND) if inside <= min(labels.shape) else np.zeros(0, bool)
    return float(filled.sum()) / max(float(near.sum()), 1.0)


def _reading(seen_at: int | None, ratios: Sequence[float], aliased: bool) -> Reading:
    """The conclusion from the ratios at the sizes at which boxes of the coarse plane hold all classes."""
    smallest = min(ratios, default=0.0)
    if smallest < FALLING:
        return "not wada"
    return "wada" if seen_at and smallest >= STABLE and not aliased else "undecided"


def _warnings(
    labels: np.ndarray, wanted: Sequence[int], boxes: float, *, noisy: bool, unseen: bool, aliased: bool
) -> tuple[str, ...]:
    warnings = []
    if unseen:
        warnings.append(
            "at half the resolution no box fits that holds two of the classes, which the test needs; take smaller boxes"
        )
    if noisy:
        warnings.append(
            "neighbouring cells differ as in noise drawn for each cell: no box size can show Wada basins"
        )
    elif aliased:
        warnings.append(
            f"basins are narrower than {NARROW} cells nearly everywhere along the boundary, where patterns alias alike at "
            "both resolutions; take a finer plane"
        )
    if rare := [label for label in wanted if np.mean(labels == label) < 1e-3]:
        named = ", ".join(map(str, rare))
        warnings.append(f"less than a thousandth of the cells has label {named}: pass classes without it")
    if boxes < 10:
        warnings.append(f"only about {boxes:.0f} of the widest boxes fit side by side along the boundary")
    return tuple(warnings)
