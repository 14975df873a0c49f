"""Recurrence statistics against theory for noise and rotations, and against counting by hand."""

import itertools
import json

import numpy as np
import pytest

from denoscope.dynamics.loops.recurrence import recurrence
from denoscope.dynamics.statistics import pairwise
from denoscope.dynamics.statistics.pairwise import distance_quantile
from denoscope.foundation.errors import UserError


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


def circle(n, turn):
    angles = 2 * np.pi * turn * np.arange(n)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_white_noise_has_the_determinism_of_chance():
    # Each cell of a diagonal is recurrent independently, with a probability equal to the rate.
    by_rate = {rate: recurrence(noise(2000), rate=rate) for rate in (0.05, 0.2)}
    for rate, found in by_rate.items():
        assert found.recurrence_rate == pytest.approx(rate, abs=1e-6)
        assert found.determinism == pytest.approx(1 - (1 - rate) ** 2, rel=0.1)
        assert found.mean_diagonal == pytest.approx(2 + rate / (1 - rate), rel=0.05)
    p, q = 0.05, 0.95
    assert by_rate[p].entropy == pytest.approx(-(q * np.log(q) + p * np.log(p)) / q, rel=0.2)


def test_laminarity_of_white_noise_on_average():
    # Equally likely on a circle: every column then has the same rate.
    rng = np.random.default_rng(1)
    found = []
    for _ in range(10):
        angles = rng.uniform(0, 2 * np.pi, 500)
        found.append(recurrence(np.stack([np.cos(angles), np.sin(angles)], 1), rate=0.1).laminarity)
    assert np.mean(found) == pytest.approx(1 - 0.9**2, abs=0.02)


def test_a_rotation_is_deterministic():
    # Distances on a circle depend on |i − j| alone: a diagonal is recurrent throughout or nowhere.
    found = recurrence(circle(1000, (np.sqrt(5) - 1) / 200))
    assert found.determinism > 0.99
    assert found.longest_diagonal > 950
    # The nearest 5 % of a turn contain 0.05/0.00618 = 8.09 states. Of the 6.18 passes through them, the one at the point
    # itself is cut into two of 4 by the main diagonal.
    assert found.longest_vertical in (8, 9)
    assert found.trapping_time == pytest.approx((5.18 * 8.09 + 2 * 4) / 7.18, abs=0.15)
    assert found.laminarity > 0.95


def by_hand(matrix, theiler, shortest):
    """Line statistics, cell by cell."""
    n = len(matrix)
    diagonals, verticals = [], []
    for gap in range(theiler + 1, n):
        cells = [matrix[i, i + gap] for i in range(n - gap)]
        diagonals += [len(list(run)) for on, run in itertools.groupby(cells) if on]
    for column in matrix.T:
        verticals += [len(list(run)) for on, run in itertools.groupby(column) if on]
    lines, stays = [v for v in diagonals if v >= shortest], [v for v in verticals if v >= shortest]
    shares = [lines.count(v) / len(lines) for v in set(lines)]
    return {
        "determinism": sum(lines) / sum(diagonals),
        "mean_diagonal": np.mean(lines),
        "longest_diagonal": max(diagonals),
        "entropy": -sum(p * np.log(p) for p in shares),
        "laminarity": sum(stays) / sum(verticals),
        "trapping_time": np.mean(stays),
        "longest_vertical": max(verticals),
    }


@pytest.mark.parametrize("theiler", [0, 4])
def test_every_statistic_equals_that_by_hand(theiler):
    points = np.cumsum(noise((60, 2)), axis=0)
    found = recurrence(points, rate=0.2, theiler=theiler, shortest_diagonal=3, shortest_vertical=3)
    gaps = np.abs(np.subtract.outer(np.arange(60), np.arange(60)))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert np.array_equal(found.matrix, (apart <= found.threshold) & (gaps > theiler))
    assert found.recurrence_rate == pytest.approx(found.matrix[gaps > theiler].mean())
    for name, value in by_hand(found.matrix, theiler, 3).items():
        assert getattr(found, name) == pytest.approx(value), name


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
def test_the_threshold_is_the_quantile_of_sorted_distances(share, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK_NUMBERS", 500)
    points = noise((80, 3))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    gaps = np.abs(np.subtract.outer(np.arange(80), np.arange(80)))
    ordered = np.sort(apart[gaps > 2])
    expected = ordered[int(np.ceil(share * len(ordered))) - 1]
    assert distance_quantile(points, share, 2) == pytest.approx(expected, rel=1e-12)


def test_a_denoising_trajectory_has_a_matrix_and_a_warning():
    found = recurrence(np.cumsum(noise((51, 784)), axis=0))
    assert found.matrix.shape == (51, 51)
    assert "few" in found.warnings[0]
    json.loads(found.to_json())


def test_statistics_without_lines_are_none():
    found = recurrence(2 ** np.arange(20.0), rate=0.005)
    assert found.mean_diagonal is None and found.entropy is None and found.determinism == 0


def test_many_equal_distances_give_a_warning():
    found = recurrence(np.tile([0.0, 1.0], 300))
    assert found.recurrence_rate > 0.45
    assert any("instead of 0.05" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (noise(9), {}, "9 points; allowed: at least 10"),
        (np.zeros(100), {}, "equal"),
        (np.zeros(20_001), {}, "equal"),
        (np.arange(20_001), {}, "at most 20000"),
        (noise(100), {"rate": 1.0}, "rate is 1"),
        (noise(100), {"theiler": 50}, "theiler is 50"),
        (noise(100), {"shortest_diagonal": 0}, "is 0; allowed: an integer of at least 1"),
        (np.full(100, np.nan), {}, "NaN or Inf"),
    ],
)
def test_wrong_arguments_are_refused(points, options, message):
    with pytest.raises(UserError, match=message):
        recurrence(points, **options)
