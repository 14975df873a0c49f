"""Orbit diagrams of the logistic map and of a double well; interrupted diagrams are resumed to the same numbers."""

import math

import numpy as np
import pytest
import torch
from known_maps import henon, logistic, logistic_in_place, start

from denoscope.dynamics.loops.orbit_diagram import orbit_diagram
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError

# The orbit of the second parameter diverges from 0.3 and from the end of the first orbit; not from 0, where the last
# parameter's orbit ends.
RATES = [3.2, 4.5, 3.9, 0.5]


def test_the_period_doubling_cascade():
    found = orbit_diagram(logistic, [2.8, 3.2, 3.5], start(0.3), iterations=64, discard=2000)
    assert [len(np.unique(row.round(8))) for row in found.values] == [1, 2, 4]
    assert found.values[0] == pytest.approx(np.full(64, 1 - 1 / 2.8))


def test_following_orbits_show_hysteresis():
    # A double well with a tilt: followed upward, the orbit stays in the left well; downward, in the right one.
    def tilted(force):
        return lambda x: x - 0.1 * (x**3 - x - force)

    forces = np.linspace(-0.2, 0.2, 5)
    options = {"discard": 200, "follow": True, "observable": lambda x: x[0]}
    up = orbit_diagram(tilted, forces, start(-1.0), **options)
    down = orbit_diagram(tilted, forces[::-1], start(1.0), **options)
    assert (up.values < 0).all() and (down.values > 0).all()


def test_a_parameter_whose_orbit_diverges_gives_a_warning():
    found = orbit_diagram(logistic, [3.2, 4.5], start(0.3), discard=100)
    assert np.isfinite(found.values[0]).all() and np.isnan(found.values[1]).all()
    assert found.warnings[0].startswith("parameter 4.5: the orbit diverged")


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_interrupted_diagram_is_resumed(tmp_path, dtype, follow):
    def stop(done, _total):
        if done == 350:
            raise KeyboardInterrupt

    out, x0 = tmp_path / "diagram.npz", torch.tensor([0.3], dtype=dtype)
    options = {"iterations": 20, "discard": 80, "follow": follow}
    whole = orbit_diagram(logistic, RATES, x0, **options)
    assert len(whole.warnings) == 1 and np.isnan(whole.values[1]).all()
    with pytest.raises(KeyboardInterrupt):
        orbit_diagram(logistic, RATES, x0, checkpoint=Checkpoint(out, progress=stop), **options)
    reported = []
    resumed = Checkpoint(out, resume=True, progress=lambda *counts: reported.append(counts))
    for _ in range(2):
        found = orbit_diagram(logistic, RATES, x0, checkpoint=resumed, **options)
        np.testing.assert_array_equal(found.values, whole.values)
        assert found.warnings == whole.warnings
    if not follow:
        assert reported[0] == (301, 400) and reported[-1] == (400, 400)


def test_the_checkpoint_of_another_diagram_is_refused(tmp_path):
    x0, resumed = start(0.3), Checkpoint(tmp_path / "diagram.npz", resume=True)
    options = {"step_of": logistic, "parameters": RATES, "x0": x0, "iterations": 5, "discard": 20}
    orbit_diagram(**options, checkpoint=resumed)
    for change, difference in (
        ({"step_of": lambda r: logistic(r + 0.1)}, "the maps there"),
        ({"parameters": [3.2, 4.5, 3.9, 0.6]}, "parameters"),
        ({"x0": x0 + 0.1}, "x0"),
        ({"observable": lambda x: x[0] ** 2}, "observable"),
        ({"discard": 21}, "discard"),
    ):
        with pytest.raises(UserError, match=f"cannot be resumed, since it differs in .*{difference}"):
            orbit_diagram(**options | change, checkpoint=resumed)


def test_maps_and_observables_that_agree_at_the_first_state_are_distinguished(tmp_path):
    # From zero Hénon's map goes to (1, 0) for all parameters.
    resumed = Checkpoint(tmp_path / "diagram.npz", resume=True)
    options = {"parameters": [1.0, 1.2], "x0": start(0, 0), "iterations": 5, "discard": 50}
    options |= {"step_of": henon, "observable": lambda s: s[0]}
    orbit_diagram(**options, checkpoint=resumed)
    for change, difference in (
        ({"observable": lambda s: s[1]}, "observable"),
        ({"step_of": lambda a: henon(a, 0.1)}, "the maps there"),
    ):
        with pytest.raises(UserError, match=f"differs in {difference}"):
            orbit_diagram(**options | change, checkpoint=resumed)


def test_a_checkpoint_changes_no_number_of_a_map_that_works_in_place(tmp_path):
    options = {"iterations": 5, "discard": 0}
    plain = orbit_diagram(logistic_in_place, [3.2, 3.9], start(0.3), **options)
    stored = orbit_diagram(
        logistic_in_place, [3.2, 3.9], start(0.3), checkpoint=tmp_path / "a.npz", **options
    )
    np.testing.assert_array_equal(plain.values, stored.values)


def test_an_observable_may_be_undefined_at_the_start(tmp_path):
    options = {"iterations": 5, "discard": 50, "observable": lambda s: math.log(abs(s[0]))}
    plain = orbit_diagram(henon, [1.2], start(0, 0), **options)
    stored = orbit_diagram(henon, [1.2], start(0, 0), checkpoint=tmp_path / "diagram.npz", **options)
    np.testing.assert_array_equal(plain.values, stored.values)


def test_progress_counts_the_states_of_all_orbits():
    reported = []
    checkpoint = Checkpoint(progress=lambda *counts: reported.append(counts))
    orbit_diagram(logistic, [3.2, 4.5, 2.8], start(0.3), iterations=10, discard=90, checkpoint=checkpoint)
    counts = [done for done, _ in reported]
    assert {total for _, total in reported} == {300} and counts == sorted(counts)
    assert counts[:100] == list(range(1, 101)) and counts[-100:] == list(range(201, 301))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": 3.2}, r"parameters has shape \[\]"),
        ({"parameters": [math.nan]}, "parameters holds 1 NaN or Inf"),
        ({"iterations": 2.5}, "iterations is 2.5"),
        ({"step_of": 3.2}, "step_of is 3.2; allowed: a function"),
        ({"step_of": logistic(3.2)}, r"step is -?[0-9.]+; allowed: a function"),
        ({"observable": lambda _: None}, "observable turned .* into None"),
        ({"observable": "mean"}, "observable is 'mean'; allowed: a function"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        orbit_diagram(**{"step_of": logistic, "parameters": [3.2], "x0": start(0.3), **change})
