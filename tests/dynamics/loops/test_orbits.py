"""Orbits, their cycles and fixed points, by what the logistic map is known to do."""

import math

import numpy as np
import pytest
import torch

from denoscope.dynamics.loops.orbits import fixed_points, orbit, orbit_diagram, periodicity
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError


def start(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def logistic(r):
    return lambda x: r * x * (1 - x)


def test_an_orbit_begins_after_what_is_discarded():
    states = orbit(lambda x: 2 * x, start(1.0), iterations=3, discard=2)
    assert states.tolist() == [[4.0], [8.0], [16.0]]
    assert orbit(lambda x: 2 * x, start(1.0), iterations=1).tolist() == [[1.0]]


# Published: the logistic map's windows of period 1, 2, 4 and 3.
@pytest.mark.parametrize(("r", "period"), [(2.8, 1), (3.2, 2), (3.5, 4), (3.83, 3), (4.0, None), (3.56, 8)])
def test_the_period_of_the_logistic_map(r, period):
    found = periodicity(orbit(logistic(r), start(0.3), iterations=200, discard=2000))
    assert found.period == period
    assert found.cycle.shape == (period or 0, 1)
    assert not found.warnings


def test_the_cycle_is_the_closed_form():
    r = 3.2
    found = periodicity(orbit(logistic(r), start(0.3), iterations=200, discard=2000))
    root = math.sqrt((r - 3) * (r + 1))
    assert np.sort(found.cycle[:, 0]) == pytest.approx([(r + 1 - root) / (2 * r), (r + 1 + root) / (2 * r)])


def test_a_slow_drift_is_no_quiet_fixed_point():
    found = periodicity(1 + 5e-7 * np.arange(200))
    assert found.period == 1
    assert "still moves" in found.warnings[0]


def test_an_orbit_too_short_for_the_period_is_refused():
    with pytest.raises(UserError, match="192 states are needed"):
        periodicity(np.zeros((51, 4)))
    assert periodicity(np.zeros((51, 4)), longest=17).period == 1


def test_fixed_points_are_those_that_attract():
    # x ← x − 0.1 (x³ − x): ±1 attract, 0 repels.
    found = fixed_points(lambda x: x - 0.1 * (x**3 - x), start(-2, -0.5, 0.5, 0.7).reshape(4, 1))
    assert found.points[:, 0] == pytest.approx([-1, 1])
    assert found.reached.tolist() == [0, 0, 1, 1]
    assert not found.warnings


def test_starts_that_do_not_settle_are_told():
    found = fixed_points(logistic(3.2), start(0.3, 0.4).reshape(2, 1))
    assert not len(found.points) and found.reached.tolist() == [-1, -1]
    assert "2 of 2" in found.warnings[0]


def test_the_diagram_shows_the_cascade():
    found = orbit_diagram(logistic, [2.8, 3.2, 3.5], start(0.3), iterations=64, discard=2000)
    assert [len(np.unique(row.round(8))) for row in found.values] == [1, 2, 4]
    assert found.values[0] == pytest.approx(np.full(64, 1 - 1 / 2.8))


def test_the_diagram_takes_an_observable_and_follows_one_attractor():
    # A double well with a tilt: following upward stays in the left well longer than starting on the right.
    def tilted(force):
        return lambda x: x - 0.1 * (x**3 - x - force)

    forces = np.linspace(-0.2, 0.2, 5)
    up = orbit_diagram(tilted, forces, start(-1.0), follow=True, observable=lambda x: x[0])
    down = orbit_diagram(tilted, forces[::-1], start(1.0), follow=True, observable=lambda x: x[0])
    assert (up.values < 0).all() and (down.values > 0).all()


def test_the_diagram_tells_which_parameter_diverged():
    found = orbit_diagram(logistic, [3.2, 4.5], start(0.3), discard=100)
    assert np.isfinite(found.values[0]).all() and np.isnan(found.values[1]).all()
    assert found.warnings[0].startswith("parameter 4.5: the orbit diverged")


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_diagram_goes_on_after_a_stop_with_what_diverged(tmp_path, dtype, follow):
    def stopping(done, _every):
        if done == 350:
            raise KeyboardInterrupt

    # From 0.3 the second parameter's orbit diverges, and from where the first one's ends; not from 0, where the last
    # parameter's ends.
    rates, out = [3.2, 4.5, 3.9, 0.5], tmp_path / "diagram.npz"
    x0, options = torch.tensor([0.3], dtype=dtype), {"iterations": 20, "discard": 80, "follow": follow}
    whole = orbit_diagram(logistic, rates, x0, **options)
    assert len(whole.warnings) == 1 and np.isnan(whole.values[1]).all()
    with pytest.raises(KeyboardInterrupt):
        orbit_diagram(logistic, rates, x0, checkpoint=Checkpoint(out, progress=stopping), **options)
    with pytest.raises(UserError, match="exists"):
        orbit_diagram(logistic, rates, x0, checkpoint=out, **options)
    told = []
    found = orbit_diagram(
        logistic,
        rates,
        x0,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: told.append(counts)),
        **options,
    )
    np.testing.assert_array_equal(found.values, whole.values)
    assert found.warnings == whole.warnings
    if not follow:
        assert told[0] == (301, 400)
    again = orbit_diagram(logistic, rates, x0, checkpoint=Checkpoint(out, resume=True), **options)
    np.testing.assert_array_equal(again.values, whole.values)
    assert again.warnings == whole.warnings
    for wrong, differs in (
        (dict(step_of=lambda r: logistic(r + 0.1)), "the maps there"),
        (dict(parameters=[3.2, 4.5, 3.9, 0.6]), "parameters"),
        (dict(x0=x0 + 0.1), "x0"),
        (dict(observable=lambda x: x[0] ** 2), "observable"),
        (dict(discard=81), "discard"),
    ):
        given = {"step_of": logistic, "parameters": rates, "x0": x0, **options, **wrong}
        with pytest.raises(UserError, match=f"cannot be resumed, since it differs in .*{differs}"):
            orbit_diagram(**given, checkpoint=Checkpoint(out, resume=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_orbit_goes_on_after_a_stop_and_to_more_iterations(tmp_path, dtype):
    def stopping(done, _every):
        if done == 40:
            raise KeyboardInterrupt

    x0, out = torch.tensor([0.3], dtype=dtype), tmp_path / "orbit.npz"
    whole = orbit(logistic(3.9), x0, iterations=90, discard=7)
    with pytest.raises(KeyboardInterrupt):
        orbit(logistic(3.9), x0, iterations=50, discard=7, checkpoint=Checkpoint(out, progress=stopping))
    for iterations in (50, 90, 20):
        again = orbit(
            logistic(3.9), x0, iterations=iterations, discard=7, checkpoint=Checkpoint(out, resume=True)
        )
        assert torch.equal(again, whole[:iterations]) and again.dtype == dtype
    for x, options in ((x0 + 0.1, {"discard": 7}), (x0, {"discard": 8})):
        with pytest.raises(UserError, match="cannot be resumed"):
            orbit(logistic(3.9), x, iterations=50, checkpoint=Checkpoint(out, resume=True), **options)
    with pytest.raises(UserError, match="cannot be resumed, since it differs in the map there"):
        orbit(logistic(3.8), x0, iterations=50, discard=7, checkpoint=Checkpoint(out, resume=True))


def test_iterations_are_told_as_they_come():
    told, tell = [], lambda *counts: told.append(counts)
    orbit(logistic(3.2), start(0.3), iterations=2, discard=3, checkpoint=Checkpoint(progress=tell))
    assert told == [(done, 5) for done in range(1, 6)]
    told.clear()
    fixed_points(lambda x: x / 2, start(1, 2).reshape(2, 1), iterations=3, progress=tell)
    assert told == [(done, 10) for done in range(1, 11)]
    told.clear()
    orbit_diagram(
        logistic, [3.2, 4.5, 2.8], start(0.3), iterations=10, discard=90, checkpoint=Checkpoint(progress=tell)
    )
    counts = [done for done, every in told]
    assert {every for _, every in told} == {300} and counts == sorted(counts)
    assert counts[:100] == list(range(1, 101)) and counts[-100:] == list(range(201, 301))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f, x: orbit(f, x, iterations=2.5),
            "iterations is 2.5; allowed: an integer of at least 1",
        ),
        (lambda f, x: orbit(f, x, iterations=0), "iterations is 0"),
        (lambda f, x: orbit(f, x, iterations=2, discard="3"), "discard is '3'"),
        (lambda _, x: orbit("map", x, iterations=2), "step is 'map'; needed is a function"),
        (lambda f, _: orbit(f, 0.3, iterations=2), r"x0 is 0\.3; allowed: a PyTorch"),
        (lambda f, x: orbit(f, x.long(), iterations=2), "x0 is a torch.int64 tensor"),
        (
            lambda f, x: fixed_points(f, x, tolerance=math.nan),
            "tolerance is nan; allowed: a number of at least 0",
        ),
        (lambda f, x: fixed_points(f, x, tolerance=-1), "tolerance is -1"),
        (lambda f, x: fixed_points(f, x, iterations=0), "iterations is 0"),
        (lambda f, x: periodicity(orbit(f, x, iterations=9), longest=2.5), "longest is 2.5"),
        (lambda f, x: periodicity(orbit(f, x, iterations=9), longest=2, tolerance=-1), "tolerance is -1"),
        (lambda _, x: orbit_diagram(logistic, 3.2, x), r"parameters has shape \[\]"),
        (
            lambda _, x: orbit_diagram(logistic, [math.nan], x),
            "parameters holds 1 NaN or Inf",
        ),
        (lambda _, x: orbit_diagram(logistic, [3.2], x, iterations=2.5), "iterations is 2.5"),
        (lambda _, x: orbit_diagram(3.2, [3.2], x), "step_of is 3.2; allowed: a function from a parameter"),
        (lambda f, x: orbit_diagram(f, [3.2], x), r"step is -?[0-9.]+; needed is a function"),
        (
            lambda _, x: orbit_diagram(logistic, [3.2], x, observable=lambda _: None),
            "observable turned .* into None",
        ),
    ],
)
def test_what_is_no_orbit_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call(logistic(3.2), start(0.3))


def henon(a, b=0.3):
    return lambda x: torch.stack((1 - a * x[0] ** 2 + x[1], b * x[0]))


def test_maps_that_agree_in_one_state_are_told_apart(tmp_path):
    # From zero Hénon's map goes to (1, 0) whatever its parameters.
    x0, out = start(0, 0), tmp_path / "orbit.npz"
    orbit(henon(1.4), x0, iterations=20, checkpoint=out)
    for other in (henon(1.2), henon(1.4, 0.1)):
        with pytest.raises(UserError, match="differs in the map there"):
            orbit(other, x0, iterations=20, checkpoint=Checkpoint(out, resume=True))
    out, options = tmp_path / "diagram.npz", {"iterations": 5, "discard": 50}
    orbit_diagram(henon, [1.0, 1.2], x0, observable=lambda s: s[0], checkpoint=out, **options)
    with pytest.raises(UserError, match="differs in observable"):
        orbit_diagram(
            henon,
            [1.0, 1.2],
            x0,
            observable=lambda s: s[1],
            checkpoint=Checkpoint(out, resume=True),
            **options,
        )
    with pytest.raises(UserError, match="differs in the maps there"):
        orbit_diagram(
            lambda a: henon(a, 0.1),
            [1.0, 1.2],
            x0,
            observable=lambda s: s[0],
            checkpoint=Checkpoint(out, resume=True),
            **options,
        )


def test_a_file_changes_no_number(tmp_path):
    def in_place(rate):
        return lambda x: x.mul_(rate * (1 - x))

    x0 = start(0.3)
    expected = orbit(logistic(3.9), x0, iterations=9)
    found = orbit(in_place(3.9), x0, iterations=9, checkpoint=tmp_path / "orbit.npz")
    assert torch.allclose(found, expected, rtol=1e-12) and x0.tolist() == [0.3]
    rates = [3.2, 3.9]
    plain = orbit_diagram(in_place, rates, x0, iterations=5, discard=0)
    stored = orbit_diagram(in_place, rates, x0, iterations=5, discard=0, checkpoint=tmp_path / "diagram.npz")
    np.testing.assert_array_equal(plain.values, stored.values)


def test_an_observable_need_not_be_defined_at_the_start(tmp_path):
    options = {"iterations": 5, "discard": 50, "observable": lambda s: math.log(abs(s[0]))}
    plain = orbit_diagram(henon, [1.2], start(0, 0), **options)
    stored = orbit_diagram(henon, [1.2], start(0, 0), checkpoint=tmp_path / "diagram.npz", **options)
    np.testing.assert_array_equal(plain.values, stored.values)


@pytest.mark.parametrize("center", [0.0, 1e-3, 1.0, 10.0])
def test_a_fixed_point_is_found_wherever_it_lies(center):
    starts = torch.full((1, 3), center + 1, dtype=torch.float64)
    found = fixed_points(lambda x: center + 0.5 * (x - center), starts, iterations=60)
    assert found.reached.tolist() == [0] and not found.warnings
    assert found.points[0] == pytest.approx([center] * 3, abs=1e-9)


@pytest.mark.parametrize("step", [lambda x: x + 1e-7, lambda x: x - 1e-4 * (x - 1)])
def test_starts_that_move_slowly_are_warned_of(step):
    found = fixed_points(step, start(0.99, 1.005).reshape(2, 1), tolerance=1e-6)
    assert "2 of 2 starts still move" in found.warnings[0]


def test_an_orbit_on_an_offset_is_warned_of_as_a_fixed_point():
    states = orbit(logistic(3.9), start(0.3), iterations=300, discard=100)
    assert periodicity(states).period is None
    offset = periodicity(states + 1e6)
    assert offset.period == 1 and "orbit on a large offset" in offset.warnings[0]
    shrinking = orbit(lambda x: x / 2, start(1.0), iterations=300)
    assert periodicity(shrinking).period == 1 and not periodicity(shrinking).warnings
