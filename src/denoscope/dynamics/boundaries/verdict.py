"""Whether a plane of labels shows a fractal boundary, a smooth one, or noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.boundary_dimension import BoundaryDimension, boundary_dimension
from denoscope.dynamics.boundaries.disorder import NOISY, cell_disorder, isolated_share, touching_cells
from denoscope.dynamics.boundaries.label_nulls import cell_noise, shuffled, straight_boundaries
from denoscope.dynamics.boundaries.label_plane import (
    checked_labels,
    classes_of,
    described,
    doubling_boxes,
    mixed_windows,
)
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.draws import as_array, generator
from denoscope.foundation.errors import UserError

Kind = Literal["smooth", "fractal", "noise", "undecided"]
STRAIGHT_DRAWS = 8
ENTROPY_BOX = 5
SMOOTH, STEEP = 1.05, 1.1
"""Slope at the cells up to which a boundary is smooth (curved ones read a little above 1), and from which it is steeper."""
LEVEL = 0.25
"""By how much the local slopes of a scaling law may differ: Newton's do by 0.06, those of basins ten cells wide by 0.9."""
FALLING, UNRELATED = 0.1, 0.6
"""By how much local slopes may fall with the side where neighbouring cells are as disordered as that, or more: those of
noise over a smooth boundary a few cells wide fall by 0.2 to 0.3, with a disorder of 0.8 and more."""
FILLING = 1.9
"""Local slope above which boxes of that size tell of the plane rather than of its boundary."""
ISOLATED = 0.02
"""Share of isolated cells above which a boundary is not smooth at the cells."""
LITTLE = 25
"""Boundary cells below which nothing can be told: the least grid's side."""
DECADE = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Null(Result):
    """What planes of a known kind with these classes read: the lowest and the highest of the draws."""

    dimension: tuple[float, float]
    local_slopes: np.ndarray
    disorder: tuple[float, float]
    isolated: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict(Result):
    """The verdict, its reason in a sentence, and what it rests on.

    `scales` are the lengths in cells, from shortest to longest, between which the boundary scales like a fractal;
    None unless the verdict is "fractal". `nulls` holds the same measures of "straight", "cell noise" and "shuffle".
    """

    verdict: Kind
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
        """How many factors of ten `scales` spans."""
        return None if self.scales is None else math.log10(self.scales[1] / self.scales[0])

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"


def verdict(labels: Any, *, growth: Any = None, seed: int = 0) -> Verdict:
    """What the boundary in a plane of labels is: "fractal", "smooth", "noise" or "undecided", and why.

    Judged by three measures, each compared with planes of the same size and classes whose truth is known (straight
    boundaries, the labels drawn per cell with their local shares, all labels shuffled):
    the local slopes d ln N/d ln(1/b) of the spaced box count at b = 1, 2, 4, … cells (`boundary_dimension`);
    the disorder R of neighbouring cells (`cell_disorder`), 1 where each cell's label is drawn on its own;
    the share of boundary cells that differ from all four neighbours.

    noise: R is at least 0.9: the boundary is made of cells that do not know of their neighbours, as where the sampler's
    noise differs per cell; use common noise. A box dimension near 1.75 is then an artefact.
    smooth: the slope at the shortest lengths is that of straight boundaries or at most 1.05, and hardly a cell is isolated.
    fractal: local slopes above both 1.1 and those of straight boundaries, with their intervals, that agree within 0.25
    over a decade or more, starting at the cells; it is claimed for `scales` and for nothing beyond.
    undecided: none of these; or disordered cells (R of 0.6) whose slopes fall as boxes grow, as those of noise over a
    smooth boundary do; or fewer than 25 cells at the boundary, or a boundary at the plane's edge alone.

    How to read it: a growth exponent, however large, is no argument. Two Gaussians have exponent 27 on a perfectly
    straight boundary; with `growth`, `ridge` tells how far the boundary's exponents rise above the rest, and the
    verdict does not change by it. Nor does the ln 2 criterion decide: noise passes it and many fractals don't.
    Misleads: basins one cell wide are taken for noise, a fractal that starts below the cells' size for a smooth
    boundary; look again at a part of the plane. A fractal with a dimension below 1.1 stays undecided or,
    below 1.05, smooth.

    Args:
        labels: whole numbers [ny, nx], 25 cells each way at least and 85 for "fractal"; −1 is a class like any other.
        growth: an exponent for each cell [ny, nx], as of a ridge map.
        seed: of the null models and of the intervals.

    Source: local slopes and their plateau: Kantz, Schreiber, Nonlinear Time Series Analysis, 2nd ed. (2004);
    nulls as surrogates: Theiler et al., Physica D 58, 77 (1992). The bounds are this project's, measured on the cases
    of its tests.
    """
    labels = checked_labels(labels)
    sides = doubling_boxes(labels.shape)
    ridge = None if growth is None else _ridge(labels, growth)
    dimension = boundary_dimension(labels, boxes=sides, seed=seed)
    nulls = _nulls(labels, sides, seed)
    disorder, isolated = cell_disorder(labels), isolated_share(labels)
    kind, reason, scales = _judge(dimension, nulls, touching_cells(labels), disorder, isolated)
    return Verdict(
        verdict=kind,
        reason=reason + _of_the_ridge(ridge, kind),
        scales=scales,
        dimension=dimension,
        disorder=disorder,
        isolated=isolated,
        boundary_entropy=basin_entropy(labels, box=ENTROPY_BOX, offsets=ENTROPY_BOX).boundary_entropy,
        ridge=ridge,
        nulls=nulls,
        origin=described(labels, sides) | {"seed": seed},
        warnings=dimension.warnings,
    )


def _ridge(labels: np.ndarray, growth: Any) -> float:
    """Mean exponent of the cells at the boundary less the mean of the others."""
    growth = as_array(growth, "growth")
    if growth.shape != labels.shape or growth.dtype.kind not in "fiu" or not np.isfinite(growth).all():
        raise UserError(
            f"growth is {growth.dtype} of shape {growth.shape}; allowed: a finite number for each cell, {labels.shape}"
        )
    # A cell has a boundary where one of its eight neighbours is of another class.
    boundary = mixed_windows(np.pad(labels, 1, mode="edge"), 3)
    if boundary.all():
        raise UserError(
            "every cell lies at a boundary; allowed with growth: labels with some cells inside a basin"
        )
    return float(growth[boundary].mean() - growth[~boundary].mean())


def _of_the_ridge(ridge: float | None, kind: Kind) -> str:
    if ridge is None or kind == "fractal":
        return ""
    return f"; growth on the boundary is {ridge:+.2f} against elsewhere, which makes a ridge and no fractal"


def _nulls(labels: np.ndarray, sides: Sequence[int], seed: int) -> dict[str, Null]:
    draws, classes = generator(seed), len(classes_of(labels))
    return {
        "straight": _null(
            [straight_boundaries(labels.shape, classes, draws) for _ in range(STRAIGHT_DRAWS)], sides
        ),
        "cell noise": _null([cell_noise(labels, draws)], sides),
        "shuffle": _null([shuffled(labels, draws)], sides),
    }


def _null(planes: list[np.ndarray], sides: Sequence[int]) -> Null:
    fits = [boundary_dimension(plane, boxes=sides).spaced_fit for plane in planes]
    slopes = np.array([fit.local_slopes for fit in fits])
    return Null(
        dimension=_ends([fit.slope for fit in fits]),
        local_slopes=np.stack([slopes.min(axis=0), slopes.max(axis=0)], axis=-1),
        disorder=_ends([cell_disorder(plane) for plane in planes]),
        isolated=_ends([isolated_share(plane) for plane in planes]),
    )


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _judge(
    dimension: BoundaryDimension, nulls: dict[str, Null], touching: int, disorder: float, isolated: float
) -> tuple[Kind, str, tuple[float, float] | None]:
    """The kind, the reason, and the scales of a fractal."""
    if touching < LITTLE:
        return (
            "undecided",
            f"{touching} cells touch another class, and {LITTLE} are needed: too little boundary",
            None,
        )
    if not np.isfinite(dimension.spaced_fit.local_slopes).all():
        return "undecided", "the boundary lies at the grid's edge: shift the plane", None
    fit, limits = dimension.spaced_fit, np.maximum(nulls["straight"].local_slopes[:, 1], STEEP)
    finest = fit.local_slopes[0]
    if disorder >= NOISY:
        noise = nulls["cell noise"]
        return (
            "noise",
            f"neighbouring cells differ at least about as often as labels drawn per cell do (disorder {disorder:.2f}, such noise "
            f"{noise.disorder[0]:.2f}, straight boundaries {nulls['straight'].disorder[1]:.2f}): the slope of "
            f"{fit.slope:.2f} is an artefact; use noise common to all cells",
            None,
        )
    if isolated <= ISOLATED and 2 - SMOOTH <= finest <= max(SMOOTH, nulls["straight"].local_slopes[0, 1]):
        return "smooth", _why_smooth(fit.local_slopes, limits), None
    octaves = _scaling_octaves(fit.local_slopes, fit.local_intervals[:, 0], limits)
    span = fit.sides[octaves] / fit.sides[0]
    told = fit.local_slopes[fit.local_slopes < FILLING]
    falls = float(told[:4].max() - told[-1]) if len(told) else 0.0
    if falls > FALLING and disorder >= UNRELATED:
        return (
            "undecided",
            f"the local slopes fall by {falls:.2f} as boxes grow and neighbouring cells are disordered ({disorder:.2f}): so does "
            "noise over a smooth boundary; use noise common to all cells, or a finer plane",
            None,
        )
    if span >= DECADE:
        return (
            "fractal",
            f"the boundary scales with dimension {fit.local_slopes[:octaves].mean():.2f} from {fit.sides[0]:.0f} to "
            f"{fit.sides[octaves]:.0f} cells, straight ones with {nulls['straight'].dimension[1]:.2f} at most",
            (float(fit.sides[0]), float(fit.sides[octaves])),
        )
    return (
        "undecided",
        _why_undecided(fit.local_slopes, isolated, span, fit.sides[-1] / fit.sides[0], limits),
        None,
    )


def _scaling_octaves(slopes: np.ndarray, lowest: np.ndarray, limits: np.ndarray) -> int:
    """How many octaves from the cells on are steeper than a smooth boundary's and alike."""
    octaves = 0
    for k in range(len(slopes)):
        alike = np.ptp(slopes[: k + 1]) <= LEVEL and slopes[k] < FILLING
        if not (alike and lowest[k] > limits[k]):
            break
        octaves = k + 1
    return octaves


def _why_smooth(slopes: np.ndarray, limits: np.ndarray) -> str:
    reason = f"at the shortest lengths the boundary scales with {slopes[0]:.2f}, as straight ones do"
    steeper = np.flatnonzero(slopes > limits)
    return f"{reason}; it winds at {2 ** steeper[0]} cells and more" if len(steeper) else reason


def _why_undecided(
    slopes: np.ndarray, isolated: float, span: float, possible: float, limits: np.ndarray
) -> str:
    read = ", ".join(f"{slope:.2f}" for slope in slopes)
    if isolated > ISOLATED and slopes[0] <= limits[0]:
        return f"{isolated:.0%} of the boundary's cells are isolated (local slopes {read}): noise on top of basins, or specks"
    if slopes[0] <= limits[0]:
        return f"neither straight nor clearly steeper at the cells (local slopes {read}): a finer plane may decide"
    if possible < DECADE:
        return f"steeper than a smooth boundary (local slopes {read}), but the grid spans a factor of {possible:.0f} alone: 85×85 cells or more could show a decade"
    return f"steeper than a smooth boundary at the cells, but level over a factor of {span:.0f} alone (local slopes {read}): a finer plane may decide"
