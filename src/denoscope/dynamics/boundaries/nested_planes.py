"""The boundary in nested planes of labels: its dimension and its verdict at the lengths that they span together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.boundaries.box_fit import BoxFit, hull, pooled_fit
from denoscope.dynamics.boundaries.disorder import boundary_cells, cell_disorder, isolated_share
from denoscope.dynamics.boundaries.filled_maps import allowed_planes
from denoscope.dynamics.boundaries.judgement import Evidence, Judgement, Kind, confirmed, judge
from denoscope.dynamics.boundaries.label_plane import classes_of, doubling_boxes, mixed_windows
from denoscope.dynamics.boundaries.verdict import null_models
from denoscope.foundation.spelling import spelled


@dataclass(frozen=True)
class NestedPlanes:
    """The judgement of planes, with their box counts and the interval of the dimension, None if there is no slope.

    `shown` is the verdict on the boundaries that the planes show, which differs from the judgement if filled cells that may
    be wrong would change it.
    """

    judgement: Judgement
    shown: Kind
    fit: BoxFit
    interval: tuple[float, float] | None


def judge_nested(
    planes: Sequence[np.ndarray],
    half_widths: np.ndarray,
    *,
    audits: Sequence[Audit] = (),
    seed: int = 0,
    confidence: float = 0.95,
) -> NestedPlanes:
    """The dimension and the verdict of the boundary in planes of which each is a part of the one before.

    The box counts of all planes at sides of 1, 2, 4, … spacings between their own cells are added up, so that the slope is
    a mean over the lengths from the finest spacing to the widest box. The rules of `verdict` apply to it. They count the
    range of lengths from one plane to the next where the boundary scales over as large a factor as the next plane is narrower.
    Where the slopes rise with the side, the interval contains their continuation to the next wider boxes. For maps with
    filled cells it contains the slopes with as many wrong cells in each plane as its audit allows; if they would
    change the verdict, it is "undecided".

    Args:
        planes: labels [ny, nx], integers, all of one shape.
        half_widths: [plane] descending.
        audits: of the planes; none if all their cells are computed.
    """
    shape = planes[0].shape
    sides = doubling_boxes(shape)
    nulls = null_models(max(planes, key=lambda labels: len(classes_of(labels))), sides, seed)
    steps = tuple((half_widths[:-1] / half_widths[1:]).tolist())

    def fitted(labels: Sequence[np.ndarray]) -> tuple[BoxFit, tuple[float, float] | None]:
        mixed = [[mixed_windows(plane, side) for side in sides] for plane in labels]
        return pooled_fit(mixed, shape, sides, seed=seed, confidence=confidence)

    def judged(labels: Sequence[np.ndarray], fit: BoxFit) -> Judgement:
        cells = np.array([boundary_cells(plane) for plane in labels])
        return judge(
            Evidence(
                fit=fit,
                cells=int(cells.sum()),
                disorder=float(np.mean([cell_disorder(plane) for plane in labels])),
                isolated=_share([isolated_share(plane) for plane in labels], cells),
                nulls=nulls,
                steps=steps,
            )
        )

    fit, interval = fitted(planes)
    shown, allowed = judged(planes, fit), _allowed(planes, audits, confidence)
    fits = [fitted(labels)[0] for labels in allowed]
    others = [judged(labels, other) for labels, other in zip(allowed, fits, strict=True)]
    return NestedPlanes(
        confirmed(shown, others, audits, confidence, _advice),
        shown.kind,
        fit,
        interval and hull(*interval, _slope_of_wider_boxes(fit), *(other.slope for other in fits)),
    )


def _allowed(
    planes: Sequence[np.ndarray], audits: Sequence[Audit], confidence: float
) -> list[tuple[np.ndarray, ...]]:
    """The planes with as many wrong cells in each as its audit allows, in each layout; see `allowed_planes`."""
    if not audits:
        return []
    found = [
        list(allowed_planes(labels, audit, confidence)) for labels, audit in zip(planes, audits, strict=True)
    ]
    layouts = max(map(len, found))
    return list(
        zip(*(one or [labels] * layouts for one, labels in zip(found, planes, strict=True)), strict=True)
    )


def _advice() -> str:
    return f"take a larger {spelled('audit')}, or {spelled('method', 'exact')}"


def _slope_of_wider_boxes(fit: BoxFit) -> float:
    """The slope at the next wider boxes if the slopes rise with the side and go on as they end; NaN if they do not rise.

    Small boxes miss thin parts of a ragged boundary between their points, so that all slopes are below the dimension.
    """
    rises = np.diff(fit.local_slopes)
    return float(fit.local_slopes[-1] + rises[-1]) if len(rises) and (rises > 0).all() else math.nan


def _share(shares: Sequence[float], cells: np.ndarray) -> float:
    return float(np.average(shares, weights=cells)) if cells.any() else 0.0
