"""Recurrence plots and recurrence quantification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_rounded_points
from denoscope.dynamics.statistics.pairwise import blocks, check_theiler, distance_quantile, resolution
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer, parse_real

LEAST_POINTS = 10
MOST_POINTS = 20_000
FEW_POINTS = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Recurrence(Result):
    """The recurrence matrix at a threshold, and the statistics of its lines.

    Lengths and times are in steps, entropy in nats. A statistic without lines to compute it from is None.

    Attributes:
        matrix: [n, n] of booleans. `to_dict` leaves it out: it takes the square of the number of points, from which it can be
            computed again.
    """

    unstored: ClassVar[tuple[str, ...]] = ("matrix",)
    matrix: np.ndarray
    threshold: float
    recurrence_rate: float
    determinism: float | None
    mean_diagonal: float | None
    longest_diagonal: int
    entropy: float | None
    laminarity: float | None
    trapping_time: float | None
    longest_vertical: int


@calls_checked
def recurrence(
    points: Any,
    *,
    rate: float = 0.05,
    theiler: int = 0,
    shortest_diagonal: int = 2,
    shortest_vertical: int = 2,
) -> Recurrence:
    """The pairs of points [n, …] (or [n]) in order of time that are close, and the lines that they form.

    R_ij = 1 if ‖x_i − x_j‖ ≤ threshold (L2). The threshold is such that a share `rate` of the pairs |i − j| > theiler
    is recurrent, plus the rounding errors of the points, so that equal distances are either all recurrent or all not.
    Closer pairs in time are False in the matrix and are not counted. With P(l) diagonal lines (a stretch of orbit
    follows an earlier one) and P(v) vertical lines (the orbit stays where it is) of each length:

    - recurrence rate: the share of recurrent pairs
    - determinism Σ_{l ≥ l_min} l P(l) / Σ_l l P(l): the share of recurrent pairs that lie on diagonals
    - mean and longest diagonal: how long two stretches follow each other
    - entropy −Σ p ln p, with p the share of each length among diagonals l ≥ l_min
    - laminarity Σ_{v ≥ v_min} v P(v) / Σ_v v P(v), and trapping time, the mean vertical length

    Interpretation: 1/longest diagonal is related to the largest Lyapunov exponent. White noise at rate ρ has determinism
    1 − (1 − ρ)² and mean diagonal 2 + ρ/(1 − ρ), not 0: compare with these, or with a shuffled series.

    Caveats: finely sampled points are deterministic in any case; set `theiler`. All lines depend on the rate: compare only
    results at the same rate. Statistics need hundreds of points; for a trajectory of 50 steps there is a warning, and only
    the matrix is worth viewing. Time and the size of the matrix grow as n².

    Raises: UserError if there are fewer than 10 or more than 20000 points, or all points are equal.
    Source: Marwan, Romano, Thiel and Kurths, Physics Reports 438, 237 (2007), sec. 3.5.
    """
    array, rounding = parse_rounded_points(points, name="points", minimum=LEAST_POINTS)
    parse_real(rate, "rate", above=0, below=1, example="0.05")
    parse_integer(shortest_diagonal, "shortest_diagonal", minimum=1)
    parse_integer(shortest_vertical, "shortest_vertical", minimum=1)
    _check_size(len(array))
    check_theiler(theiler, len(array))
    # The quantile alone would separate distances that are equal up to rounding.
    threshold = distance_quantile(array, rate, theiler) + resolution(array, rounding)
    matrix = np.concatenate([block <= threshold for _, block in blocks(array, theiler)])
    measured_rate = float(matrix.sum() / ((len(array) - theiler) * (len(array) - theiler - 1)))
    return Recurrence(
        matrix=matrix,
        threshold=threshold,
        recurrence_rate=measured_rate,
        **_diagonal_statistics(_diagonals(matrix, theiler), shortest_diagonal),
        **_vertical_statistics(_verticals(matrix), shortest_vertical),
        origin={
            "points": len(array),
            "numbers": array.shape[1],
            "rate": rate,
            "theiler": theiler,
            "shortest_diagonal": shortest_diagonal,
            "shortest_vertical": shortest_vertical,
        },
        warnings=tuple(_recurrence_warnings(len(array), rate, measured_rate)),
    )


def _check_size(points: int) -> None:
    if points > MOST_POINTS:
        raise UserError(
            f"points has {points} points, for which the matrix takes {points**2 / 1e9:.1f} GB; allowed: at most "
            f"{MOST_POINTS}; take every n-th point"
        )


def _runs(cells: np.ndarray) -> np.ndarray:
    """The lengths of the runs of True in a row of cells."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], cells, [False]])))
    return edges[1::2] - edges[::2]


def _diagonals(matrix: np.ndarray, theiler: int) -> np.ndarray:
    """The lengths of all diagonal lines above the main diagonal; those below are the same."""
    return np.concatenate([_runs(matrix.diagonal(gap)) for gap in range(theiler + 1, len(matrix))])


def _verticals(matrix: np.ndarray) -> np.ndarray:
    """The lengths of all vertical lines; the matrix is symmetric, so that rows serve as columns."""
    return np.concatenate([_runs(row) for row in matrix])


def _diagonal_statistics(lengths: np.ndarray, shortest: int) -> dict[str, Any]:
    lines = lengths[lengths >= shortest]
    shares = np.unique(lines, return_counts=True)[1] / max(len(lines), 1)
    return {
        "determinism": float(lines.sum() / lengths.sum()) if len(lengths) else None,
        "mean_diagonal": float(lines.mean()) if len(lines) else None,
        "longest_diagonal": int(lengths.max(initial=0)),
        "entropy": float(-(shares * np.log(shares)).sum()) if len(lines) else None,
    }


def _vertical_statistics(lengths: np.ndarray, shortest: int) -> dict[str, Any]:
    lines = lengths[lengths >= shortest]
    return {
        "laminarity": float(lines.sum() / lengths.sum()) if len(lengths) else None,
        "trapping_time": float(lines.mean()) if len(lines) else None,
        "longest_vertical": int(lengths.max(initial=0)),
    }


def _recurrence_warnings(points: int, rate: float, measured_rate: float) -> list[str]:
    warnings = []
    if points < FEW_POINTS:
        warnings.append(
            f"{points} points are few: the matrix can be viewed, but statistics of its lines need {FEW_POINTS} or more"
        )
    if abs(measured_rate - rate) > 0.1 * rate:
        warnings.append(
            f"the recurrence rate is {measured_rate:.3g} instead of {rate:g}: many distances are equal up to rounding, or there are too few "
            "pairs"
        )
    return warnings
