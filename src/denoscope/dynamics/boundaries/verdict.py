"""Whether the boundary in a plane of labels is fractal, smooth, or an artefact of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension, dimension_of
from denoscope.dynamics.boundaries.box_fit import BoxFit, box_slopes, plane_fit
from denoscope.dynamics.boundaries.disorder import boundary_cells, cell_disorder, isolated_share
from denoscope.dynamics.boundaries.filled_maps import CONFIDENCE, allowed_planes, enough_checks
from denoscope.dynamics.boundaries.judgement import Evidence, Kind, Null, confirmed, judge
from denoscope.dynamics.boundaries.label_nulls import cell_noise, shuffled, straight_boundaries
from denoscope.dynamics.boundaries.label_plane import (
    classes_of,
    doubling_boxes,
    mixed_windows,
    parse_labels,
    plane_origin,
)
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_array, random_generator
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

STRAIGHT_DRAWS = 8
ENTROPY_BOX = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict(Result):
    """The verdict, its reason in a sentence, and the measures it is based on.

    `scales` are the shortest and the longest length, in spacings between cells, between which the boundary scales like
    a fractal; None unless the verdict is "fractal". `nulls` has the same measures of the null models "straight",
    "cell noise" and "shuffle".

    `shown` is the verdict on the boundaries that a map shows. It differs from `verdict` if cells were filled, and islands
    that the map may have missed would change it; then `verdict` is "undecided".
    """

    verdict: Kind
    shown: Kind
    reason: str
    scales: tuple[float, float] | None
    dimension: BoundaryDimension
    disorder: float
    isolated: float
    boundary_entropy: float
    ridge: float | None
    nulls: dict[str, Null]

    @property
    def decades(self) -> float | None:
        """The number of factors of ten that `scales` spans."""
        return None if self.scales is None else math.log10(self.scales[1] / self.scales[0])

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"


@calls_checked
def verdict(labels: Any, *, growth: Any = None, seed: int = 0) -> Verdict:
    """Whether the boundary in a plane of labels is "fractal", "smooth", "noise" or "undecided", with the reason.

    The verdict compares three measures with those of planes of the same size and classes of known kind (straight
    boundaries; labels drawn for each cell with their local shares; all labels shuffled):

    - the local slopes d ln N/d ln(1/s) of the box counts at sides of s = 1, 2, 4, … spacings (`boundary_dimension`)
    - the disorder R of neighbouring cells, 1 if the label of each cell is drawn independently (`cell_disorder`)
    - the share of boundary cells that differ from all four neighbours

    It is one of four:

    - "noise": R is at least 0.9. The boundary consists of cells that are independent of their neighbours, as if the noise of
      the sampler differs between cells; use common noise. A box dimension near 1.75 is then an artefact.
    - "smooth": the slope at the shortest lengths is at most that of straight boundaries or 1.03, and at most 0.25 % of the
      boundary cells are isolated.
    - "fractal": the local slopes, with their intervals, exceed both 1.1 and those of straight boundaries, and agree within
      0.25 over at least a decade from the cells on. The claim holds for `scales` only.
    - "undecided": none of these; or disordered cells (R of 0.6) whose slopes fall as boxes grow, as those of noise over a
      smooth boundary; or fewer than 25 boundary cells, or a boundary at the edge of the plane; or a map with so many filled
      cells that may be wrong that the verdict could be another.

    Interpretation: a growth exponent is not an argument, however large: two Gaussians have an exponent of 27 on a perfectly
    straight boundary. With `growth`, `ridge` says how far the exponents at the boundary exceed the others; it does not
    change the verdict. Nor does the ln 2 criterion of `basin_entropy` decide: noise meets it, and many fractals do not.

    Caveats: basins that are one cell wide count as noise, and a fractal that starts below the size of the cells counts
    as smooth; repeat the verdict on a part of the plane.

    Measured on random planes of known kind: of 360 lines, disks, sectors, waves and level lines of smooth fields (40² and
    85² cells) 339 were "smooth" and 21 "undecided". Of level lines of rough surfaces "fractal" found 1 of 60 with D = 1.5
    on 85² cells, 5 of 30 on 150² and 5 of 8 on 300²: "undecided" is no evidence against a fractal. With D = 1.2 none of
    100 (85²) and of 40 (150²) were called "smooth"; with D = 1.1, 2 of 60 and none of 40 were.

    Args:
        labels: a map of basins or its `label`, or integers [ny, nx]; at least 25×25 cells, and 85×85 for "fractal"; −1 (no class) counts as a class.
        growth: an exponent for each cell [ny, nx], such as `plane_growth` gives.
        seed: of the null models and of the intervals.

    Raises: UserError if the plane is too small or has one class, or `growth` does not fit it.

    Source: local slopes and their plateau: Kantz, Schreiber, Nonlinear Time Series Analysis, 2nd ed. (2004); null models
    as surrogates: Theiler et al., Physica D 58, 77 (1992). The thresholds are this project's own, measured on the cases
    of its tests.
    """
    audit, labels = audit_of(labels), parse_labels(labels)
    sides = doubling_boxes(labels.shape)
    ridge = None if growth is None else _ridge(labels, growth)
    planes, nulls = list(allowed_planes(labels, audit)), null_models(labels, sides, seed)
    fits = [plane_fit(plane, sides, seed=seed, confidence=CONFIDENCE) for plane in planes]
    dimension = dimension_of(
        labels, sides, audit, [fit.slope for fit in fits], seed=seed, confidence=CONFIDENCE
    )
    evidence = _evidence(labels, dimension.fit, nulls)
    of_allowed = [judge(_evidence(plane, fit, nulls)) for plane, fit in zip(planes, fits, strict=True)]
    shown = judge(evidence)

    def agrees(plane: np.ndarray) -> bool:
        fit = plane_fit(plane, sides, seed=seed, confidence=CONFIDENCE)
        return judge(_evidence(plane, fit, nulls)).kind == shown.kind

    judgement = confirmed(
        shown, of_allowed, [audit], CONFIDENCE, lambda: _advice(enough_checks(labels, audit, agrees))
    )
    return Verdict(
        verdict=judgement.kind,
        shown=shown.kind,
        reason=judgement.reason + _ridge_remark(ridge, judgement.kind),
        scales=judgement.scales,
        dimension=dimension,
        disorder=evidence.disorder,
        isolated=evidence.isolated,
        boundary_entropy=basin_entropy(labels, box=ENTROPY_BOX, offsets=ENTROPY_BOX).boundary_entropy,
        ridge=ridge,
        nulls=evidence.nulls,
        origin=plane_origin(labels, sides) | {"seed": seed} | audit.origin,
        warnings=dimension.warnings,
    )


def _evidence(labels: np.ndarray, fit: BoxFit, nulls: dict[str, Null]) -> Evidence:
    return Evidence(
        fit=fit,
        cells=boundary_cells(labels),
        disorder=cell_disorder(labels),
        isolated=isolated_share(labels),
        nulls=nulls,
    )


def _advice(enough: int | None) -> str:
    """What decides, by the number of checked cells that would."""
    if enough is None:
        return f"checking half of them would not decide; map again with {spelled('method', 'exact')}"
    return f"{enough} checks without a wrong cell would decide: {spelled('audit', enough)}"


def _ridge(labels: np.ndarray, growth: Any) -> float:
    """The mean exponent of the cells at the boundary minus that of the others."""
    growth = parse_array(growth, "growth")
    if growth.shape != labels.shape or growth.dtype.kind not in "fiu" or not np.isfinite(growth).all():
        raise UserError(
            f"growth is {growth.dtype} of shape {list(growth.shape)}; allowed: a finite number for each cell, "
            f"{list(labels.shape)}"
        )
    growth = growth.astype(np.float64)
    # A cell is at the boundary if one of its eight neighbours has another class.
    boundary = mixed_windows(np.pad(labels, 1, mode="edge"), 3)
    if boundary.all():
        raise UserError("every cell is at a boundary; growth needs labels with some cells inside a basin")
    return float(growth[boundary].mean() - growth[~boundary].mean())


def _ridge_remark(ridge: float | None, kind: Kind) -> str:
    if ridge is None or kind == "fractal":
        return ""
    return f"; growth at the boundary is {ridge:+.2f} relative to the other cells: a ridge, which is not a fractal"


def null_models(labels: np.ndarray, sides: Sequence[int], seed: int) -> dict[str, Null]:
    """The measures of planes of known kind, of the same size and with the same classes."""
    draws, classes = random_generator(seed), len(classes_of(labels))
    straight = [straight_boundaries(labels.shape, classes, draws) for _ in range(STRAIGHT_DRAWS)]
    return {
        "straight": _null(straight, sides),
        "cell noise": _null([cell_noise(labels, draws)], sides),
        "shuffle": _null([shuffled(labels, draws)], sides),
    }


def _null(planes: list[np.ndarray], sides: Sequence[int]) -> Null:
    slopes, local_slopes = zip(*(box_slopes(plane, sides) for plane in planes), strict=True)
    return Null(
        dimension=_range(slopes),
        local_slopes=np.stack([np.min(local_slopes, axis=0), np.max(local_slopes, axis=0)], axis=-1),
        disorder=_range([cell_disorder(plane) for plane in planes]),
        isolated=_range([isolated_share(plane) for plane in planes]),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
