"""Distances between whole trajectories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_trajectories
from denoscope.dynamics.trajectories.sample_names import sample_names
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_choice


@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryDistances(Result):
    """The distances `values` [a, b] between the trajectories of two sets, or of one set, whose `samples` may have names."""

    rows: ClassVar[Mapping[str, str]] = {"values": "sample"}
    values: np.ndarray
    metric: str
    samples: tuple[str, ...] = ()


@calls_checked
def trajectory_distances(a: Any, b: Any = None, *, metric: str = "euclidean") -> TrajectoryDistances:
    """Distances [a, b] between trajectories a [sample, state, …] and b, or among those of a if b is not given.

    With d(i, j) the L2 distance between state i of one trajectory and state j of the other:

    - "euclidean": √Σ_k d(k, k)²; unit of the states, grows with √states
    - "cosine": 1 − cosine of the angle between the whole trajectories as vectors; 0 … 2
    - "dtw": dynamic time warping, the least Σ d(i, j) over monotonic paths from both first states to both last states;
      grows with the number of states; not a metric (the triangle inequality fails)
    - "frechet": discrete Fréchet distance, the same with the largest d(i, j) on the path instead of the sum
    - "hausdorff": the largest distance from a state of either to the nearest state of the other; ignores the order

    Interpretation: "dtw" and "frechet" tolerate different speeds along the same trajectory; "euclidean" and "cosine" compare
    state by state. hausdorff ≤ frechet ≤ dtw, and frechet ≤ euclidean. The distances are exact functions of the data, so
    they have no interval.

    Caveats: the noise x_T dominates most of the distances: independent noises are far apart whatever they become. The
    time grows with pairs · states² · numbers, the memory with one trajectory against all of b. Computed in float64.

    Raises: UserError if the metric is unknown, the states differ in shape, the numbers of states differ for a metric that
        compares state by state, or a trajectory is zero for "cosine".

    Source: Sakoe and Chiba, IEEE Trans. ASSP 26, 43 (1978), symmetric without weights; Eiter and Mannila, CD-TR 94/64
    (1994). SciPy has neither DTW nor Fréchet distances; its Hausdorff distance takes one pair at a time.
    """
    first = parse_trajectories(a, name="a", minimum=1)
    second = first if b is None else parse_trajectories(b, name="b", minimum=1)
    _check(first, second, metric)
    values = METRICS[metric](first, second)
    if b is None:
        # Rounding would make the matrix slightly asymmetric.
        values = np.triu(values, 1)
        values += values.T
    return TrajectoryDistances(
        values=values,
        metric=metric,
        samples=sample_names(a) if b is None else (),
        origin={
            "a": len(first),
            "b": None if b is None else len(second),
            "states": [first.shape[1], second.shape[1]],
        },
        warnings=_identical(first, second, b is None),
    )


def _euclidean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return cdist(a.reshape(len(a), -1), b.reshape(len(b), -1))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 − cos as half the squared distance of unit vectors, which is accurate for nearly parallel ones."""
    return _euclidean(_unit(a, "a"), _unit(b, "b")) ** 2 / 2


def _unit(paths: np.ndarray, name: str) -> np.ndarray:
    norms = np.linalg.norm(paths, axis=(1, 2), keepdims=True)
    if not norms.all():
        raise UserError(
            f"trajectory {int(np.argmin(norms))} of {name} is zero throughout, and cosine needs a direction; leave it out"
        )
    return paths / norms


def _dtw(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _aligned(a, b, np.add)


def _frechet(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _aligned(a, b, np.maximum)


def _aligned(
    a: np.ndarray, b: np.ndarray, join: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The least cost of an alignment of each pair [a, b]; `join` combines the cost so far with that of a pair of states."""
    return np.stack([_least_cost(_state_distances(path, b), join) for path in a])


def _least_cost(costs: np.ndarray, join: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The cost [pair] of the best path through costs [pair, i, j], by dynamic programming over all pairs at once."""
    pairs, rows, columns = costs.shape
    best = np.full((rows + 1, columns + 1, pairs), np.inf)
    best[0, 0] = 0
    steps = np.ascontiguousarray(costs.transpose(1, 2, 0))
    for i in range(rows):
        for j in range(columns):
            cheapest = np.minimum(np.minimum(best[i, j + 1], best[i + 1, j]), best[i, j])
            best[i + 1, j + 1] = join(steps[i, j], cheapest)
    return best[rows, columns]


def _hausdorff(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    all_costs = (_state_distances(path, b) for path in a)
    return np.stack(
        [np.maximum(costs.min(axis=2).max(axis=1), costs.min(axis=1).max(axis=1)) for costs in all_costs]
    )


def _state_distances(path: np.ndarray, others: np.ndarray) -> np.ndarray:
    """d(i, j) [other, i, j] between the states of one trajectory and those of each of the others."""
    flat = cdist(path, others.reshape(-1, others.shape[2]))
    return flat.reshape(len(path), len(others), -1).transpose(1, 0, 2)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "euclidean": _euclidean,
    "cosine": _cosine,
    "dtw": _dtw,
    "frechet": _frechet,
    "hausdorff": _hausdorff,
}


def _check(a: np.ndarray, b: np.ndarray, metric: str) -> None:
    parse_choice(metric, "metric", METRICS)
    if a.shape[2] != b.shape[2]:
        raise UserError(
            f"states of a have {a.shape[2]} numbers and those of b {b.shape[2]}; allowed: states of the same shape"
        )
    if metric in ("euclidean", "cosine") and a.shape[1] != b.shape[1]:
        raise UserError(
            f"trajectories of a have {a.shape[1]} states and those of b {b.shape[1]}; {spelled('metric', metric)} compares "
            "state by state; use dtw, frechet or hausdorff"
        )


def _identical(a: np.ndarray, b: np.ndarray, same_set: bool) -> tuple[str, ...]:
    """A warning that names the first two trajectories with the same bits."""
    if a.shape[1:] != b.shape[1:]:
        return ()
    seen: dict[bytes, int] = {} if same_set else {path.tobytes(): k for k, path in enumerate(b)}
    for k, path in enumerate(a):
        twin = seen.get(path.tobytes())
        if twin is not None:
            return (
                f"trajectories {k} and {twin} are identical: the same sample twice, or a map that forgets its initial state",
            )
        if same_set:
            seen[path.tobytes()] = k
    return ()
