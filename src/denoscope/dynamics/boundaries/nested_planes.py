"""The boundary in nested planes of labels: its dimension and its verdict at the lengths that they span together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denoscope.dynamics.boundaries.box_fit import BoxFit, hull, pooled_fit
from denoscope.dynamics.boundaries.disorder import boundary_cells, cell_disorder, isolated_share
from denoscope.dynamics.boundaries.judgement import Evidence, Judgement, judge
from denoscope.dynamics.boundaries.label_plane import classes_of, doubling_boxes, mixed_windows
from denoscope.dynamics.boundaries.verdict import null_models


@dataclass(frozen=True)
class NestedPlanes:
    """The judgement of planes, with their box counts and the interval of the dimension, None if there is no slope."""

    judgement: Judgement
    fit: BoxFit
    interval: tuple[float, float] | None


def judge_nested(
    planes: Sequence[np.ndarray], half_widths: np.ndarray, *, seed: int = 0, confidence: float = 0.95
) -> NestedPlanes:
    """The dimension and the verdict of the boundary in planes of which each is a part of the one before.

    The box counts of all planes at sides of 1, 2, 4, … spacings between their own cells are added up, so that the slope is
    a mean over the lengths from the finest spacing to the widest box. The rules of `verdict` apply to it. They count the
    range of lengths from one plane to the next where the boundary scales over as large a factor as the next plane is narrower.
    Where the slopes rise with the side, the interval contains their continuation to the next wider boxes.

    Args:
        planes: labels [ny, nx], integers, all of one shape.
        half_widths: [plane] descending.
    """
    shape = planes[0].shape
    sides = doubling_boxes(shape)
    fit, interval = pooled_fit(
        [[mixed_windows(labels, side) for side in sides] for labels in planes],
        shape,
        sides,
        seed=seed,
        confidence=confidence,
    )
    cells = np.array([boundary_cells(labels) for labels in planes])
    evidence = Evidence(
        fit=fit,
        cells=int(cells.sum()),
        disorder=float(np.mean([cell_disorder(labels) for labels in planes])),
        isolated=_share([isolated_share(labels) for labels in planes], cells),
        nulls=null_models(max(planes, key=lambda labels: len(classes_of(labels))), sides, seed),
        steps=tuple((half_widths[:-1] / half_widths[1:]).tolist()),
    )
    return NestedPlanes(judge(evidence), fit, interval and hull(*interval, _slope_of_wider_boxes(fit)))


def _slope_of_wider_boxes(fit: BoxFit) -> float:
    """The slope at the next wider boxes if the slopes rise with the side and go on as they end; NaN if they do not rise.

    Small boxes miss thin parts of a ragged boundary between their points, so that all slopes are below the dimension.
    """
    rises = np.diff(fit.local_slopes)
    return float(fit.local_slopes[-1] + rises[-1]) if len(rises) and (rises > 0).all() else math.nan


def _share(shares: Sequence[float], cells: np.ndarray) -> float:
    return float(np.average(shares, weights=cells)) if cells.any() else 0.0
