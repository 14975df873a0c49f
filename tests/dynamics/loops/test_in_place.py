"""The caller's functions may modify their arguments in place."""

import numpy as np
import pytest
import torch
from known_maps import logistic, logistic_in_place, start

from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent
from denoscope.dynamics.loops.fixed_points import fixed_points
from denoscope.dynamics.loops.lyapunov import lyapunov
from denoscope.dynamics.loops.orbit import orbit
from denoscope.dynamics.loops.orbit_diagram import orbit_diagram


def test_a_map_that_works_in_place_has_the_orbit_of_one_that_does_not():
    in_place, plain, x0 = logistic_in_place(3.5), logistic(3.5), start(0.3)
    # The two multiply in another order.
    np.testing.assert_allclose(orbit(in_place, x0, iterations=5), orbit(plain, x0, iterations=5), rtol=1e-13)
    assert x0.item() == 0.3
    found, expected = (lyapunov(step, x0, iterations=40, discard=0) for step in (in_place, plain))
    np.testing.assert_allclose(found.exponents, expected.exponents, rtol=1e-12)
    assert found.origin["derivative"] == expected.origin["derivative"]

    def shift(x: torch.Tensor) -> torch.Tensor:
        x[0], x[1] = 1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]
        return x

    # Hénon's map; afterwards the caller's state must still be (0.1, 0.3).
    assert orbit(shift, start(0.1, 0.3), iterations=2).tolist() == [
        [0.1, 0.3],
        pytest.approx([1.286, 0.03]),
    ]
    settled = fixed_points(lambda x: x.mul_(0.5), start(1.0, 2.0).reshape(2, 1), iterations=60)
    assert settled.reached.tolist() == [0, 0]


def test_functions_of_states_may_work_in_place():
    def observed(x: torch.Tensor) -> torch.Tensor:
        return x.add_(1).sum()

    diagram = orbit_diagram(
        logistic, [3.5, 3.6], start(0.3), observable=observed, iterations=4, discard=0, follow=True
    )
    expected = orbit(logistic(3.5), start(0.3), iterations=4).reshape(-1) + 1
    assert diagram.values[0].tolist() == expected.tolist()

    def label_of(points: np.ndarray) -> np.ndarray:
        points -= 0.5
        return (points[:, 0] > 0).astype(int)

    points = np.random.default_rng(0).random((2000, 1))
    found = uncertainty_exponent(label_of, points, (0.01, 0.03, 0.1))
    np.testing.assert_allclose(found.fractions, [0.01, 0.03, 0.1], rtol=0.6)
    assert points.min() > 0
