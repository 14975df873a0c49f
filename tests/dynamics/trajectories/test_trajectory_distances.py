"""Distances between trajectories: those of SciPy, or the least over all alignments."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, directed_hausdorff

from denoscope.dynamics.trajectories.trajectory_distances import METRICS, trajectory_distances
from denoscope.foundation.errors import UserError


def paths(samples, states, numbers=3, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, states, numbers))


def alignments(rows, columns):
    """All paths from (0, 0) to the last pair that advance in one trajectory, the other or both."""
    if rows == columns == 0:
        return [[(0, 0)]]
    before = [(rows - 1, columns), (rows, columns - 1), (rows - 1, columns - 1)]
    return [[*path, (rows, columns)] for i, j in before if min(i, j) >= 0 for path in alignments(i, j)]


def by_definition(a, b, total):
    """The least total cost of each pair over all alignments, by enumeration."""
    ways = alignments(a.shape[1] - 1, b.shape[1] - 1)
    costs = [[np.linalg.norm(x[:, None] - y[None], axis=2) for y in b] for x in a]
    return np.array(
        [[min(total(cost[i, j] for i, j in way) for way in ways) for cost in row] for row in costs]
    )


@pytest.mark.parametrize(("metric", "total"), [("dtw", sum), ("frechet", max)])
def test_warping_distances_agree_with_enumeration(metric, total):
    a, b = paths(3, 4), paths(2, 5, seed=1)
    assert trajectory_distances(a, b, metric=metric).values == pytest.approx(by_definition(a, b, total))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_state_by_state_agree_with_scipy(metric):
    a, b = paths(4, 6), paths(3, 6, seed=1)
    expected = cdist(a.reshape(4, -1), b.reshape(3, -1), metric=metric)
    assert trajectory_distances(a, b, metric=metric).values == pytest.approx(expected)


def test_hausdorff_agrees_with_scipy():
    a, b = paths(4, 6), paths(3, 9, seed=1)
    expected = [[max(directed_hausdorff(x, y)[0], directed_hausdorff(y, x)[0]) for y in b] for x in a]
    assert trajectory_distances(a, b, metric="hausdorff").values == pytest.approx(np.array(expected))


@pytest.mark.parametrize("metric", METRICS)
def test_a_set_alone_is_compared_with_itself(metric):
    a = paths(5, 7)
    found = trajectory_distances(a, metric=metric).values
    assert found == pytest.approx(trajectory_distances(a, a, metric=metric).values, abs=1e-12)
    assert np.array_equal(found, found.T) and not found.diagonal().any()


def test_the_order_of_the_distances():
    a = paths(6, 8)
    of = {metric: trajectory_distances(a, metric=metric).values for metric in METRICS}
    assert (of["hausdorff"] <= of["frechet"] + 1e-12).all()
    assert (of["frechet"] <= of["dtw"] + 1e-12).all()
    assert (of["frechet"] <= of["euclidean"] + 1e-12).all()


def test_only_warping_tolerates_another_speed():
    slow = np.repeat(paths(1, 5), 2, axis=1)
    fast = np.concatenate([paths(1, 5), np.repeat(paths(1, 5)[:, -1:], 5, axis=1)], axis=1)
    assert trajectory_distances(slow, fast, metric="dtw").values == pytest.approx(0, abs=1e-12)
    assert trajectory_distances(slow, fast, metric="frechet").values == pytest.approx(0, abs=1e-12)
    assert trajectory_distances(slow, fast).values[0, 0] > 1


def test_only_hausdorff_ignores_the_direction_of_a_path():
    a = paths(1, 6)
    assert trajectory_distances(a, a[:, ::-1], metric="hausdorff").values == pytest.approx(0, abs=1e-12)
    assert trajectory_distances(a, a[:, ::-1], metric="frechet").values[0, 0] > 0.1


def test_small_distances_are_accurate():
    a = 1000 + paths(1, 6, 784)
    push = paths(1, 6, 784, seed=1)
    push *= 1e-7 / np.linalg.norm(push)
    assert trajectory_distances(a, a + push).values[0, 0] == pytest.approx(1e-7, rel=1e-3)


def test_images_are_flattened():
    a = paths(2, 3, 16)
    assert np.array_equal(
        trajectory_distances(a.reshape(2, 3, 1, 4, 4), metric="dtw").values,
        trajectory_distances(a, metric="dtw").values,
    )


def test_identical_trajectories_are_named():
    a = paths(4, 5)
    a[3] = a[1]
    assert "trajectories 3 and 1 are identical" in trajectory_distances(a).warnings[0]
    assert "trajectories 2 and 0 are identical" in trajectory_distances(a, a[2:3]).warnings[0]
    assert not trajectory_distances(paths(4, 5)).warnings


@pytest.mark.parametrize(
    ("a", "b", "metric", "message"),
    [
        (paths(2, 3), None, "manhattan", "allowed: euclidean, cosine, dtw, frechet, hausdorff"),
        (paths(2, 3), paths(2, 3, 4), "dtw", "3 numbers and those of b 4"),
        (paths(2, 3), paths(2, 4), "euclidean", "use dtw, frechet or hausdorff"),
        (np.zeros((2, 3, 1)), None, "cosine", "zero throughout"),
        (np.zeros(3), None, "dtw", "allowed: trajectories"),
        (np.full((2, 3, 1), np.inf), None, "dtw", "NaN or Inf"),
    ],
)
def test_invalid_arguments_are_refused(a, b, metric, message):
    with pytest.raises(UserError, match=message):
        trajectory_distances(a, b, metric=metric)
