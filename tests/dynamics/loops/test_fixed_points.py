"""Fixed points of maps whose attractors are known."""

import math

import numpy as np
import pytest
import torch
from known_maps import logistic, start

from denoscope.dynamics.loops.fixed_points import fixed_points
from denoscope.foundation.errors import UserError


def test_only_attracting_points_are_found():
    # x ← x − 0.1 (x³ − x): ±1 attract, 0 repels.
    found = fixed_points(
        lambda x: x - 0.1 * (x**3 - x), start(-2, -0.5, 0.5, 0.7).reshape(4, 1), iterations=200
    )
    assert found.points[:, 0] == pytest.approx([-1, 1])
    assert found.reached.tolist() == [0, 0, 1, 1]
    assert not found.warnings


def test_starts_may_come_from_numpy():
    found = fixed_points(lambda x: x / 2, np.ones((2, 1)), iterations=60)
    assert found.reached.tolist() == [0, 0]


def test_states_may_be_single_numbers():
    """cos x = x at Dottie's number."""
    found = fixed_points(torch.cos, np.array([0.3, 0.5, 1.2]), iterations=200)
    assert found.points == pytest.approx([0.7390851332151607], abs=1e-12)
    assert found.reached.tolist() == [0, 0, 0] and not found.warnings


def test_starts_that_do_not_settle_give_a_warning():
    found = fixed_points(logistic(3.2), start(0.3, 0.4).reshape(2, 1))
    assert not len(found.points) and found.reached.tolist() == [-1, -1]
    assert "2 of 2" in found.warnings[0]


@pytest.mark.parametrize("center", [0.0, 1e-3, 1.0, 10.0])
def test_a_fixed_point_of_any_size_is_found(center):
    starts = torch.full((1, 3), center + 1, dtype=torch.float64)
    found = fixed_points(lambda x: center + 0.5 * (x - center), starts, iterations=60)
    assert found.reached.tolist() == [0] and not found.warnings
    assert found.points[0] == pytest.approx([center] * 3, abs=1e-9)


@pytest.mark.parametrize("step", [lambda x: x + 1e-7, lambda x: x - 1e-4 * (x - 1)])
def test_starts_that_move_slowly_give_a_warning(step):
    found = fixed_points(step, start(0.99, 1.005).reshape(2, 1), tolerance=1e-6)
    assert "2 of 2 starts still move" in found.warnings[0]


def test_progress_counts_the_states_of_all_orbits():
    reported = []
    fixed_points(
        lambda x: x / 2, start(1, 2).reshape(2, 1), iterations=3, progress=lambda *c: reported.append(c)
    )
    assert reported == [(done, 10) for done in range(1, 11)]


@pytest.mark.parametrize(
    ("starts", "options", "message"),
    [
        (start(0.3), {"tolerance": math.nan}, "tolerance is nan; allowed: a number of at least 0"),
        (start(0.3), {"tolerance": -1}, "tolerance is -1"),
        (start(0.3), {"iterations": 0}, "iterations is 0"),
        ("0.3", {}, "starts is '0.3'; allowed: .*"),
    ],
)
def test_wrong_arguments_are_refused(starts, options, message):
    with pytest.raises(UserError, match=message):
        fixed_points(logistic(3.2), starts, **options)
