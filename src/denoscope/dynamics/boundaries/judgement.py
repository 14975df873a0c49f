"""The rules that turn the measures of a boundary into a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.boundaries.box_fit import BoxFit
from denoscope.dynamics.boundaries.disorder import NOISY
from denoscope.dynamics.result import Result

Kind = Literal["smooth", "fractal", "noise", "undecided"]
SMOOTH, STEEP = 1.03, 1.1
"""A slope at the cells is smooth up to SMOOTH (curved boundaries give a little above 1), and steep above STEEP."""
PLATEAU_RANGE = 0.25
"""The largest range of local slopes that agree: that of Newton's fractal is 0.06, that of basins ten cells wide 0.9."""
FALLING, UNRELATED = 0.1, 0.6
"""A fall of the local slopes with the side by more than FALLING shows noise if the disorder is at least UNRELATED. The
slopes of noise over a smooth boundary that is a few cells wide fall by 0.2 to 0.3, at a disorder of at least 0.8."""
FILLING = 1.9
"""At this local slope and above, boxes measure the area of the plane rather than its boundary."""
ISOLATED = 0.0025
"""Share of isolated cells above which a boundary is not smooth at the cells."""
LEAST_CELLS = 25
"""Boundary cells below which no verdict is possible: the smallest side of a plane."""
DECADE = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Null(Result):
    """The lowest and the highest value of each measure among planes of a known kind with the same classes.

    `local_slopes` has the shape [size − 1, 2].
    """

    dimension: tuple[float, float]
    local_slopes: np.ndarray
    disorder: tuple[float, float]
    isolated: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """The measures of a plane: box counts, cells at the boundary, their disorder and isolated share, and null models."""

    fit: BoxFit
    cells: int
    disorder: float
    isolated: float
    nulls: dict[str, Null]
    steps: tuple[float, ...] = ()
    """How much narrower each plane is than the one before, if the measures are those of several nested planes."""

    @property
    def limits(self) -> np.ndarray:
        """The local slopes that neither straight boundaries nor `STEEP` exceed [size − 1]."""
        return np.maximum(self.nulls["straight"].local_slopes[:, 1], STEEP)

    def zoomed(self, boxes: float) -> float:
        """The ratio of the coarsest to the finest spacing; 1 if boxes that span this factor leave lengths between planes out."""
        return math.prod(self.steps) if all(step <= boxes for step in self.steps) else 1.0


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason, and the lengths between which a fractal scales."""

    kind: Kind
    reason: str
    scales: tuple[float, float] | None = None


def judge(evidence: Evidence) -> Judgement:
    """The judgement of the first rule that applies."""
    for rule in (_too_few_cells, _noise, _smooth, _noise_over_a_smooth_boundary, _fractal):
        if (judgement := rule(evidence)) is not None:
            return judgement
    return _undecided(evidence)


def confirmed(
    shown: Judgement,
    allowed: Iterable[Judgement],
    audits: Sequence[Audit],
    confidence: float,
    advice: Callable[[], str],
) -> Judgement:
    """The judgement that maps show, if that of all planes which their audits allow is the same; else "undecided".

    Args:
        allowed: the judgements with as many wrong cells as the audits do not exclude at the level `confidence`.
        advice: what the user can do to get a decision.
    """
    if shown.kind == "undecided" or not (others := sorted({other.kind for other in allowed} - {shown.kind})):
        return shown
    missed = sum(audit.missed(confidence) for audit in audits)
    checked, filled = (sum(getattr(audit, name) for audit in audits) for name in ("checked", "filled"))
    return Judgement(
        "undecided",
        f"the boundaries shown are {shown.kind} ({shown.reason}), but with {missed} wrong cells, which {checked} checks of "
        f"{filled} filled cells do not exclude ({confidence:.0%}), they would be {' or '.join(others)}: {advice()}",
    )


def _too_few_cells(evidence: Evidence) -> Judgement | None:
    if evidence.cells < LEAST_CELLS:
        return Judgement(
            "undecided",
            f"only {evidence.cells} cells touch another class, and a verdict needs {LEAST_CELLS}",
        )
    if not np.isfinite(evidence.fit.local_slopes).all():
        return Judgement("undecided", "the boundary is at the edge of the plane: shift the plane")
    return None


def _noise(evidence: Evidence) -> Judgement | None:
    if evidence.disorder < NOISY:
        return None
    noise, straight = evidence.nulls["cell noise"], evidence.nulls["straight"]
    return Judgement(
        "noise",
        f"neighbouring cells differ about as often as labels drawn independently for each cell (disorder "
        f"{evidence.disorder:.2f}, such noise {noise.disorder[0]:.2f}, straight boundaries {straight.disorder[1]:.2f}): the "
        f"slope of {evidence.fit.slope:.2f} is an artefact; use noise common to all cells",
    )


def _smooth(evidence: Evidence) -> Judgement | None:
    slopes, straight = evidence.fit.local_slopes, evidence.nulls["straight"].local_slopes[0, 1]
    if evidence.isolated > ISOLATED or not 2 - SMOOTH <= slopes[0] <= max(SMOOTH, straight):
        return None
    reason = f"at the shortest lengths the boundary scales with {slopes[0]:.2f}, as straight ones do"
    steeper = np.flatnonzero(slopes > evidence.limits)
    return Judgement(
        "smooth",
        f"{reason}; it winds at lengths from {evidence.fit.sides[steeper[0]]:.0f} spacings between cells on"
        if len(steeper)
        else reason,
    )


def _noise_over_a_smooth_boundary(evidence: Evidence) -> Judgement | None:
    """Labels drawn for each cell in a strip around a smooth boundary: their slopes fall towards 1 as boxes grow."""
    slopes = evidence.fit.local_slopes
    of_boundary = slopes[slopes < FILLING]
    fall = float(of_boundary[:4].max() - of_boundary[-1]) if len(of_boundary) else 0.0
    if fall <= FALLING or evidence.disorder < UNRELATED:
        return None
    return Judgement(
        "undecided",
        f"the local slopes fall by {fall:.2f} as boxes grow and neighbouring cells are disordered "
        f"({evidence.disorder:.2f}), as those of noise over a smooth boundary; use noise common to all cells, or a finer "
        "plane",
    )


def _fractal(evidence: Evidence) -> Judgement | None:
    fit, octaves = evidence.fit, _scaling_octaves(evidence)
    first, last = float(fit.sides[0]), float(fit.sides[octaves])
    zoomed = evidence.zoomed(last / first)
    if not octaves or last / first * zoomed < DECADE:
        return None
    deeper = "" if zoomed == 1 else f" in planes whose sizes span a factor of {zoomed:.3g}"
    return Judgement(
        "fractal",
        f"the boundary scales with dimension {fit.local_slopes[:octaves].mean():.2f} from {first:.0f} to {last:.0f} spacings "
        f"between cells{deeper}, straight ones with at most {evidence.nulls['straight'].dimension[1]:.2f}",
        (first, last),
    )


def _scaling_octaves(evidence: Evidence) -> int:
    """The number of octaves, from the cells on, whose slopes agree and are steeper than those of a smooth boundary."""
    slopes, lowest = evidence.fit.local_slopes, evidence.fit.local_intervals[:, 0]
    octaves = 0
    for k in range(len(slopes)):
        agree = np.ptp(slopes[: k + 1]) <= PLATEAU_RANGE and slopes[k] < FILLING
        if not (agree and lowest[k] > evidence.limits[k]):
            break
        octaves = k + 1
    return octaves


def _undecided(evidence: Evidence) -> Judgement:
    slopes, sides = evidence.fit.local_slopes, evidence.fit.sides
    listed = f"(local slopes {', '.join(f'{slope:.2f}' for slope in slopes)})"
    steep = slopes[0] > evidence.limits[0]
    boxes, scaling = sides[-1] / sides[0], sides[_scaling_octaves(evidence)] / sides[0]
    span, constant = (factor * evidence.zoomed(factor) for factor in (boxes, scaling))
    if evidence.isolated > ISOLATED and not steep:
        reason = f"{evidence.isolated:.0%} of the boundary cells are isolated {listed}: specks, or noise on top of basins"
    elif not steep:
        reason = f"neither straight nor clearly steeper at the cells {listed}: a finer plane may decide"
    elif span < DECADE:
        reason = (
            f"steeper than a smooth boundary {listed}, but the plane spans only a factor of {span:.0f} in length; "
            "a plane of 85×85 cells is the smallest that spans a decade; rough boundaries need several times that"
        )
    else:
        reason = (
            f"steeper than a smooth boundary at the cells, but constant only over a factor of {constant:.0f} in length "
            f"{listed}: a finer plane may decide"
        )
    return Judgement("undecided", reason)
