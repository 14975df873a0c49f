"""Basin entropy: the uncertainty of the label within a box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr

from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.filled_maps import allowed_planes
from denoscope.dynamics.boundaries.label_plane import classes_of, parse_boxes, parse_labels, plane_origin
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.validation import parse_integer

Interval = tuple[float, float]
LEAST_TILINGS = 4
"""The interval of an entropy spans at least this many shifts along each axis."""
ABOVE_LN2 = math.log(2) * (1 + 1e-12)
"""Entropies up to here are those of two equally mixed classes, with their rounding errors."""
FEW_BOXES = 30
"""With fewer boundary boxes, the mean of their entropies is uncertain."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinEntropy(Result):
    """Entropies in nats: numbers if `box` is an integer, arrays [box] if it is a sequence.

    The intervals are ranges over shifted tilings, the effect of the placement of the boxes; for a map with filled cells,
    also over planes with as many wrong cells as its audit allows (95 %). `boundary_boxes` is the mean number of boxes with
    more than one label.
    """

    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("box", "entropy", "boundary_entropy", "entropy_interval", "boundary_interval", "boundary_boxes"),
        "box",
    )
    box: int | tuple[int, ...]
    entropy: Any
    boundary_entropy: Any
    entropy_interval: Any
    boundary_interval: Any
    boundary_boxes: Any

    @property
    def above_ln2(self) -> Any:
        """Whether the boundary entropy exceeds ln 2, for each box size; see `basin_entropy` for its interpretation."""
        return self.boundary_entropy > ABOVE_LN2


@calls_checked
def basin_entropy(labels: Any, *, box: int | Sequence[int] = 10, offsets: int = 1) -> BasinEntropy:
    """The mean entropy of the labels in boxes of box² cells, over all boxes and over those with more than one label.

    S_b = (1/N) Σ_i S_i with S_i = −Σ_j p_ij ln p_ij, where p_ij is the share of label j among the cells of box i and N
    the number of boxes; S_bb = Σ_i S_i / N_b, where N_b is the number of boxes with more than one label. In nats. Boxes
    consist of whole cells, as in the publications; only `boundary_dimension` counts lengths in spacings between cells.

    Interpretation: S_b is 0 for one basin and ln(number of classes) if all labels are mixed everywhere. It grows with
    the box as boxˆ(2 − D), where D is the dimension of the boundary, so compare planes at one box size only. A straight
    boundary has S_bb = 0.40 in boxes of many cells and more in small ones: 0.61, 0.54, 0.48, 0.44 and 0.42 at 2, 3, 5,
    10 and 20 cells (mean over its directions). S_bb > ln 2 exceeds what two equally mixed classes can give; on a smooth
    boundary only the isolated points where three classes meet reach it, so it is evidence of a fractal boundary. It is
    sufficient, not necessary: Newton's fractal in boxes of 10 cells has 0.672.

    Caveats: labels that are random from cell to cell (a sampler with independent noise for every cell) and basins
    smaller than the box also exceed ln 2, and two classes never do; `verdict` distinguishes these cases. If the box does
    not divide the plane, the remaining cells at the far edges are not used.

    Args:
        labels: a map of basins or its `label`, or integers [ny, nx]; −1 (no class) counts as a class.
        box: side of a box in cells, or several sides, which are sorted.
        offsets: number of tilings along each axis, shifted by box/offsets, over which the entropies are means; 1 is the
            tiling that starts at the corner, as in the publications.

    Raises: UserError if the labels are not a plane of at least two classes, or a box does not fit.

    Source: Daza, Wagemakers, Georgeot, Guéry-Odelin, Sanjuán, Scientific Reports 6, 31416 (2016).
    """
    audit, labels = audit_of(labels), parse_labels(labels)
    several = parse_array(box, "box").ndim > 0
    sides = parse_boxes(box if several else [box], labels.shape, least=1)
    offsets = parse_integer(offsets, "offsets", minimum=1)
    allowed = list(allowed_planes(labels, audit))
    by_side = [_entropies(labels, side, offsets, allowed) for side in sides]

    def column(name: str) -> Any:
        values = [getattr(entropies, name) for entropies in by_side]
        return np.array(values) if several else values[0]

    return BasinEntropy(
        box=sides if several else sides[0],
        entropy=column("entropy"),
        boundary_entropy=column("boundary_entropy"),
        entropy_interval=column("entropy_interval"),
        boundary_interval=column("boundary_interval"),
        boundary_boxes=column("boundary_boxes"),
        origin=plane_origin(labels, sides) | {"offsets": offsets} | audit.origin,
        warnings=tuple(
            warning
            for side, entropies in zip(sides, by_side, strict=True)
            for warning in _warnings(side, labels, entropies)
        ),
    )


@dataclass(frozen=True)
class _Entropies:
    """The fields of `BasinEntropy` at one box size."""

    entropy: float
    boundary_entropy: float
    entropy_interval: Interval
    boundary_interval: Interval
    boundary_boxes: float


def _entropies(labels: np.ndarray, side: int, offsets: int, allowed: Sequence[np.ndarray]) -> _Entropies:
    """The entropies of the labels; their ranges include those of the planes that an audit allows."""
    tilings = _tilings(labels, side, offsets)
    total, mixed, boxes = tilings.sum(axis=0)
    planes = [*([] if offsets >= LEAST_TILINGS else [labels]), *allowed]
    more = [_tilings(plane, side, max(offsets, LEAST_TILINGS)) for plane in planes]
    totals, mixed_boxes, all_boxes = np.concatenate([tilings, *more]).T
    has_boundary = mixed_boxes > 0
    return _Entropies(
        entropy=float(total / boxes),
        boundary_entropy=float(total / mixed) if mixed else math.nan,
        entropy_interval=_range(totals / all_boxes),
        boundary_interval=_range(totals[has_boundary] / mixed_boxes[has_boundary]),
        boundary_boxes=float(mixed / len(tilings)),
    )


def _range(values: np.ndarray) -> Interval:
    return (float(values.min()), float(values.max())) if len(values) else (math.nan, math.nan)


def _tilings(labels: np.ndarray, side: int, offsets: int) -> np.ndarray:
    """Sum of the entropies, number of mixed boxes and number of boxes [tiling, 3] of every shifted tiling."""
    shifts = sorted({k * side // offsets for k in range(offsets)})
    shifted = (labels[y:, x:] for y in shifts for x in shifts)
    return np.array([_tiling(part, side) for part in shifted if min(part.shape) >= side])


def _tiling(labels: np.ndarray, side: int) -> tuple[float, float, float]:
    """Sum of the entropies, number of mixed boxes and number of boxes of the tiling from the corner."""
    rows, columns = (length // side for length in labels.shape)
    cells = labels[: rows * side, : columns * side].reshape(rows, side, columns, side)
    entropy, kinds = np.zeros((rows, columns)), np.zeros((rows, columns), dtype=int)
    for label in classes_of(cells):
        share = np.count_nonzero(cells == label, axis=(1, 3)) / side**2
        entropy += entr(share)
        kinds += share > 0
    return float(entropy.sum()), float(np.count_nonzero(kinds > 1)), float(kinds.size)


def _warnings(side: int, labels: np.ndarray, entropies: _Entropies) -> list[str]:
    boxes = math.prod(length // side for length in labels.shape)
    if not entropies.boundary_boxes:
        return [
            f"no box of {side} cells holds two labels, so there is no boundary entropy; take larger boxes, or average "
            "over more tilings (offsets of basin_entropy)"
        ]
    if entropies.boundary_entropy > ABOVE_LN2 and entropies.boundary_boxes > 0.5 * boxes:
        return [
            f"more than half of the boxes of {side} cells hold several labels: a boundary entropy above ln 2 may be due "
            "to basins smaller than a box, or to noise; see verdict"
        ]
    if entropies.boundary_boxes < FEW_BOXES:
        return [
            f"only {entropies.boundary_boxes:.0f} boxes of {side} cells hold a boundary: their mean entropy is uncertain"
        ]
    return []
