"""Periods of the logistic map, published and in closed form."""

import math

import numpy as np
import pytest
from known_maps import logistic, start

from denoscope.dynamics.loops.orbit import orbit
from denoscope.dynamics.loops.periodicity import periodicity
from denoscope.foundation.errors import UserError


# Published: the logistic map's windows of period 1, 2, 4, 8 and 3.
@pytest.mark.parametrize(("r", "period"), [(2.8, 1), (3.2, 2), (3.5, 4), (3.83, 3), (4.0, None), (3.56, 8)])
def test_periods_of_the_logistic_map(r, period):
    found = periodicity(orbit(logistic(r), start(0.3), iterations=200, discard=2000))
    assert found.period == period
    assert found.cycle.shape == (period or 0, 1)
    assert not found.warnings


def test_the_cycle_of_period_two_is_the_closed_form():
    r = 3.2
    found = periodicity(orbit(logistic(r), start(0.3), iterations=200, discard=2000))
    root = math.sqrt((r - 3) * (r + 1))
    assert np.sort(found.cycle[:, 0]) == pytest.approx([(r + 1 - root) / (2 * r), (r + 1 + root) / (2 * r)])


def test_a_slow_drift_gives_a_warning():
    found = periodicity(1 + 5e-7 * np.arange(200))
    assert found.period == 1
    assert "drifts" in found.warnings[0]


def test_an_orbit_with_a_large_offset_gives_a_warning():
    states = orbit(logistic(3.9), start(0.3), iterations=300, discard=100)
    assert periodicity(states).period is None
    offset = periodicity(states + 1e6)
    assert offset.period == 1 and "offset" in offset.warnings[0]
    shrinking = orbit(lambda x: x / 2, start(1.0), iterations=300)
    assert periodicity(shrinking).period == 1 and not periodicity(shrinking).warnings


def test_an_orbit_too_short_for_the_longest_period_is_refused():
    with pytest.raises(UserError, match=r"states has shape \[51, 4\]; .*192.*longest=64.*at most 17"):
        periodicity(np.zeros((51, 4)))
    assert periodicity(np.zeros((51, 4)), longest=17).period == 1
    with pytest.raises(
        UserError, match=r"states has shape \[300, 0\]; allowed: states of at least one number"
    ):
        periodicity(np.zeros((300, 0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"longest": 2.5}, "longest is 2.5"), ({"longest": 2, "tolerance": -1}, "tolerance is -1")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        periodicity(np.zeros(9), **options)
