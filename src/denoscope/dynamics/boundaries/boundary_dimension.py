"""The box-counting dimension of the boundary between basins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.audit import Audit, audit_of
from denoscope.dynamics.boundaries.box_fit import BoxFit, box_slopes, hull, pooled_fit
from denoscope.dynamics.boundaries.filled_maps import allowed_planes, more_checks
from denoscope.dynamics.boundaries.label_plane import mixed_windows, parse_boxes, parse_labels, plane_origin
from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.foundation.arguments import calls_checked

FULL = 0.95
"""Share of mixed windows above which a count measures the area of the plane rather than the boundary."""
RIM = 0.5
"""A boundary is at the edge if its share near the edge exceeds the area's share by more than this part of the largest
possible excess."""
UNEVEN = 0.1
"""Difference between local slopes above which, if their intervals are disjoint, there is no common exponent."""
DOUBLED = 2.0
"""Filled cells that may be wrong are warned of if they make the interval wider by more than this factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryDimension(Estimate):
    """The box-counting dimension `value`, with its `interval` and the `fit` whose slope it is.

    `mixed_share` [size] is the share of all windows of that size that hold more than one label. `value` is NaN and
    `interval` None if fewer than two sizes have mixed boxes away from the edge of the plane.
    """

    fit: BoxFit
    mixed_share: np.ndarray


@calls_checked
def boundary_dimension(
    labels: Any, *, boxes: Sequence[int] = (5, 10, 20, 30), seed: int = 0, confidence: float = 0.95
) -> BoundaryDimension:
    """The box-counting dimension D of the boundary between the labels of a plane.

    N(s) ~ (1/s)ˆD, where N(s) is the number of boxes of side s with more than one label. D is the slope of ln N over
    ln(1/s); each size is weighted by its count, because the variance of ln N is about 1/N. Dimensionless. The unit of
    length is the spacing between cells: a box of b×b cells has the side s = b − 1, the distance between its outermost
    cells. N is the mean over all tilings of the plane by such boxes, taken from the windows whose centre is far enough
    from the edge for the widest box to fit around it.

    Interpretation: a smooth curve has D = 1, a boundary that fills the plane D = 2. D describes only the
    given range of sizes; where the boundary scales, `fit.local_slopes` are constant.

    Caveats: an exponent over less than a decade is not evidence of a fractal (see `verdict`). Label noise reads up to
    2, basins smaller than the boxes read 2, a winding curve reads above 1 at the size of its turns. Structure finer
    than the cells is cut off: Koch's curve (1.26) on 800² cells reads 1.18 at sides of 2 to 4 spacings and 1.25 at 16
    to 32, Cantor stripes (1.63) on 200² cells read 1.48 with boxes from 2 cells and 1.59 from 5. Published values
    often take b cells as the side b, although a boundary runs between cells; a straight line then reads about 0.92
    with boxes of 5 to 30 cells, and Newton's z³ = 1 on 300² cells reads 1.385 instead of 1.417.

    `interval` covers other parts of the boundary, other sizes and the treatment of the edge: it is the range of the
    slopes of bootstrap samples of 6×6 blocks of the plane (the given confidence), of the slopes with any one size
    left out, both with and without the windows near the edge, and of the local slopes. For a map with filled cells it also
    covers the slopes of planes with as many wrong cells as the audit allows: scattered one by one, in islands of 4×4
    cells, and along the boundary. The measured coverage is in `docs/intervals.md`.

    Args:
        labels: a map of basins or its `label`, or integers [ny, nx]; −1 (no class) counts as a class.
        boxes: at least three sides in cells, at most half of the plane, because wider boxes all share its middle.
        seed: of the bootstrap.

    Raises: UserError if the labels are not a plane of at least two classes, or a box does not fit.

    Source: McDonald, Grebogi, Ott, Yorke, Physica D 17, 125 (1985). The mean over tilings is the area of the
    Minkowski sausage of the boundary by squares, divided by the area of a square (Falconer, Fractal Geometry, 3rd
    ed., ch. 2).
    """
    audit, labels, confidence = audit_of(labels), parse_labels(labels), parse_confidence(confidence)
    sides = parse_boxes(boxes, labels.shape, least=3, part=2)
    of_allowed = [box_slopes(plane, sides)[0] for plane in allowed_planes(labels, audit, confidence)]
    return dimension_of(labels, sides, audit, of_allowed, seed=seed, confidence=confidence)


def dimension_of(
    labels: np.ndarray,
    sides: tuple[int, ...],
    audit: Audit,
    of_allowed: Sequence[float],
    *,
    seed: int,
    confidence: float,
) -> BoundaryDimension:
    """The dimension of the boundary in a plane [ny, nx], given the slopes of the planes that its audit allows."""
    mixed = [mixed_windows(labels, side) for side in sides]
    inner, own = pooled_fit([mixed], labels.shape, sides, seed=seed, confidence=confidence)
    share = np.array([windows.mean() for windows in mixed])
    interval = hull(*own, *of_allowed) if own else None
    uncertain = own and interval and np.ptp(interval) > DOUBLED * np.ptp(own)
    return BoundaryDimension(
        value=inner.slope,
        interval=interval,
        confidence=confidence,
        fit=inner,
        mixed_share=share,
        origin=plane_origin(labels, sides) | {"seed": seed} | audit.origin,
        warnings=(
            *_count_warnings(sides, share, inner),
            *_rim_warnings(mixed[0], sides[0], sides[-1]),
            *([more_checks(audit, confidence)] if uncertain else []),
        ),
    )


def _count_warnings(sides: tuple[int, ...], share: np.ndarray, fit: BoxFit) -> tuple[str, ...]:
    warnings = []
    if full := [side for side, part in zip(sides, share, strict=True) if part > FULL]:
        warnings.append(
            f"nearly all boxes of {_listed(full)} cells contain a boundary: their counts measure the area of the plane; "
            "take smaller boxes"
        )
    if empty := [side for side, number in zip(sides, fit.counts, strict=True) if not number]:
        warnings.append(
            f"the boundary is at the edge of the plane: no boxes of {_listed(empty)} cells count; shift the plane"
        )
    elif np.ptp(fit.local_slopes) > UNEVEN and _disjoint(fit.local_intervals):
        warnings.append(
            f"the local slopes range from {fit.local_slopes.min():.2f} to {fit.local_slopes.max():.2f}: no single "
            "exponent describes these sizes; see fit.local_slopes, and take sizes over which they agree"
        )
    if fit.interval[0] > 1 and math.log10(fit.sides[-1] / fit.sides[0]) < 1:
        warnings.append(
            f"boxes of {sides[0]} to {sides[-1]} cells, with sides of {fit.sides[0]:g} to {fit.sides[-1]:g} spacings, span less than a "
            "decade: the exponent is not evidence of a fractal"
        )
    return tuple(warnings)


def _rim_warnings(mixed: np.ndarray, side: int, widest: int) -> list[str]:
    """A warning if much of the boundary, as the smallest windows show it, is where the widest box does not fit."""
    margin = (widest - side) // 2 + widest // 2
    inner = mixed[margin : mixed.shape[0] - margin, margin : mixed.shape[1] - margin]
    rim, area = 1 - inner.sum() / max(mixed.sum(), 1), 1 - inner.size / mixed.size
    if not area < rim or rim < RIM + (1 - RIM) * area:
        return []
    return [
        f"{rim:.0%} of the boundary is so close to the edge of the plane that the widest boxes ({widest} cells) see only "
        "part of it, and the slopes depend on the edge; shift the plane or take smaller boxes"
    ]


def _disjoint(intervals: np.ndarray) -> bool:
    """Whether two of the intervals [n, 2] have no value in common."""
    return bool(intervals[:, 0].max() > intervals[:, 1].min())


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
