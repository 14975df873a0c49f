"""Whether every point of the boundary is one of all basins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from denoscope.dynamics.boundaries.disorder import NOISY, cell_disorder
from denoscope.dynamics.boundaries.label_plane import (
    checked_boxes,
    checked_labels,
    classes_of,
    described,
    windows_with,
)
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.draws import as_array, checked_confidence
from denoscope.dynamics.statistics.proportion import wilson
from denoscope.foundation.errors import UserError
from denoscope.models.classifier.labels import REJECTED

SEEN = 0.95
"""Share of the boundary boxes that counts as all of them: the cells cut the finest structure off."""
KEPT, LOST = 0.9, 0.7
"""What a halved resolution leaves of the share: 1 where the boundary is Wada, 1/2 where classes meet at points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wada(Result):
    """The share of boundary boxes that hold all classes [b], its interval [b, 2], and the same at half the resolution.

    `seen_at` is the smallest side in cells at which 95 % of the boundary boxes hold all classes, None if no side does.
    `resolution_ratio` is the least share over that at half the resolution; `reading` sums them up.
    """

    boxes: tuple[int, ...]
    fractions: np.ndarray
    intervals: np.ndarray
    coarse_fractions: np.ndarray
    seen_at: int | None
    resolution_ratio: float | None
    reading: Literal["wada", "not wada", "undecided"]
    confidence: float = 0.95


def wada(
    labels: Any,
    *,
    boxes: Sequence[int] = (3, 5, 9, 17, 33),
    classes: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> Wada:
    """The share of boundary boxes that hold all classes, for each box size: 1 down to the cells if the basins are Wada.

    W(b) = (boxes of b² cells with every class) / (boxes with more than one of them), over the boxes at all places of the
    grid; of classes that are not asked for, what else lies in a box is no matter.
    For three classes and more a box holds them all exactly when it holds a piece of the boundary of each class against
    the rest, so W is both the grid test and, with b as the fattening, the merging test. Without unit.

    How to read it: `reading` is "wada" where 95 % of the boundary boxes hold all classes at some size tried and every
    second row and column of the labels give the same W at the same number of cells. Where classes meet at single
    points W is the share of boxes near those points: it falls with the side, and doubles when the resolution is
    halved. W below 1 at the smallest boxes is expected even of Wada basins: few cells hold few labels.
    Misleads: noise that differs per cell gives 1 as well, so its reading is "undecided"; a class that only fills a corner makes W small, and
    with fewer than three classes there is nothing to ask. Pixels prove nothing below their size.

    The intervals are Wilson's, for as many boxes as lie side by side along the boundary.

    Args:
        labels: whole numbers [ny, nx].
        boxes: sides in cells.
        classes: those that must be seen; all but −1 unless given.

    Source: Daza, Wagemakers, Sanjuán, Yorke, Scientific Reports 5, 16579 (2015), without its refinement between cells;
    merging: Daza, Wagemakers, Sanjuán, Scientific Reports 8, 9954 (2018).
    """
    labels, confidence = checked_labels(labels), checked_confidence(confidence)
    sides = checked_boxes(boxes, labels.shape, least=1)
    wanted = _wanted(labels, classes)
    full, mixed = np.array([_windows(labels, side, wanted) for side in sides]).T
    half = labels[::2, ::2]
    coarse = np.array([_share(half, side, wanted) for side in sides])
    apart = np.maximum(mixed / np.array(sides) ** 2, 1)
    with np.errstate(invalid="ignore"):  # of sides along which no two of the classes meet
        fractions = full / mixed
    ratio = min((f / c for f, c in zip(fractions, coarse, strict=True) if c > 0), default=None)
    seen_at = next((side for side, share in zip(sides, fractions, strict=True) if share >= SEEN), None)
    noisy, unseen = cell_disorder(labels) >= NOISY, bool(np.isnan(coarse).all())
    return Wada(
        boxes=sides,
        fractions=fractions,
        intervals=wilson(fractions * apart, apart, confidence=confidence),
        coarse_fractions=coarse,
        seen_at=seen_at,
        resolution_ratio=None if ratio is None else float(ratio),
        reading="undecided" if noisy or unseen else _reading(seen_at, ratio),
        confidence=confidence,
        origin=described(labels, sides) | {"wanted": list(wanted)},
        warnings=_warnings(labels, wanted, apart[-1], noisy, unseen),
    )


def _wanted(labels: np.ndarray, classes: Sequence[int] | None) -> tuple[int, ...]:
    found = set(classes_of(labels).tolist())
    asked = as_array(list(found - {REJECTED}) if classes is None else classes, "classes")
    if asked.ndim != 1 or asked.dtype.kind not in "iu":
        raise UserError(f"classes are {classes!r}; allowed: three or more of the labels, as (0, 1, 2)")
    wanted = sorted(set(asked.tolist()))
    if missing := set(wanted) - found:
        raise UserError(
            f"no cell has label {min(missing)}; the labels are {', '.join(map(str, sorted(found)))}"
        )
    if len(wanted) < 3:
        raise UserError(
            f"{len(wanted)} classes to look for; allowed: at least 3, for every boundary point of two classes is one "
            "of both; take a plane with more classes, or name −1 among `classes`"
        )
    return tuple(wanted)


def _windows(labels: np.ndarray, side: int, wanted: Sequence[int]) -> tuple[int, int]:
    """How many windows hold all wanted classes, and how many more than one of them."""
    held = np.sum([windows_with(labels == label, side) for label in wanted], axis=0)
    return int((held == len(wanted)).sum()), int((held > 1).sum())


def _share(labels: np.ndarray, side: int, wanted: Sequence[int]) -> float:
    """The share of mixed windows that hold all classes; NaN where none fits or none is mixed."""
    full, mixed = _windows(labels, side, wanted) if side <= min(labels.shape) else (0, 0)
    return full / mixed if mixed else float("nan")


def _reading(seen_at: int | None, ratio: float | None) -> Literal["wada", "not wada", "undecided"]:
    if ratio is None or ratio < LOST:
        return "not wada"
    return "wada" if seen_at and ratio >= KEPT else "undecided"


def _warnings(
    labels: np.ndarray, wanted: Sequence[int], boxes: float, noisy: bool, unseen: bool
) -> tuple[str, ...]:
    warnings = []
    if unseen:
        warnings.append(
            "at half the resolution no box fits that holds two of the classes, so that nothing tells Wada basins from "
            "others; take smaller boxes"
        )
    if noisy:
        warnings.append(
            "neighbouring cells differ as in noise drawn per cell: no box size can show Wada basins"
        )
    if rare := [label for label in wanted if np.mean(labels == label) < 1e-3]:
        named = ", ".join(map(str, rare))
        warnings.append(
            f"less than a thousandth of the cells has label {named}: name `classes` to look without it"
        )
    if boxes < 10:
        warnings.append(f"only about {boxes:.0f} of the widest boxes lie side by side along the boundary")
    return tuple(warnings)
