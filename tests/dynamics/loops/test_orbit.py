"""Orbits against iteration by hand; interrupted orbits are resumed to the same bits."""

import numpy as np
import pytest
import torch
import xarray
from known_maps import henon, logistic, logistic_in_place, start

from denoscope.dynamics.loops.orbit import orbit
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError


def test_an_orbit_starts_after_the_discarded_iterations():
    states = orbit(lambda x: 2 * x, start(1.0), iterations=3, discard=2)
    assert states.tolist() == [[4.0], [8.0], [16.0]]
    assert orbit(lambda x: 2 * x, start(1.0), iterations=1).tolist() == [[1.0]]


def float64(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("convert", [np.array, xarray.DataArray, float64, lambda x: np.array(x, ">f8")])
def test_the_first_state_may_come_from_any_array_library(convert):
    states = orbit(lambda x: 2 * x, convert([1.0, 0.5]), iterations=2)
    assert states.tolist() == [[1.0, 0.5], [2.0, 1.0]] and states.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_interrupted_orbit_is_resumed_and_extended(tmp_path, dtype):
    def stop(done, _total):
        if done == 40:
            raise KeyboardInterrupt

    x0, out = torch.tensor([0.3], dtype=dtype), tmp_path / "orbit.npz"
    whole = orbit(logistic(3.9), x0, iterations=90, discard=7)
    with pytest.raises(KeyboardInterrupt):
        orbit(logistic(3.9), x0, iterations=50, discard=7, checkpoint=Checkpoint(out, progress=stop))
    for iterations in (50, 90, 20):
        again = orbit(
            logistic(3.9), x0, iterations=iterations, discard=7, checkpoint=Checkpoint(out, resume=True)
        )
        assert torch.equal(again, whole[:iterations]) and again.dtype == dtype


def test_the_checkpoint_of_another_orbit_is_refused(tmp_path):
    x0, resumed = start(0.3), Checkpoint(tmp_path / "orbit.npz", resume=True)
    orbit(logistic(3.9), x0, iterations=50, discard=7, checkpoint=resumed)
    for step, x, discard, difference in (
        (logistic(3.9), x0 + 0.1, 7, "x0"),
        (logistic(3.9), x0, 8, "discard: 7 → 8"),
        (logistic(3.8), x0, 7, "the map there"),
    ):
        with pytest.raises(UserError, match=f"differs in .*{difference}"):
            orbit(step, x, iterations=50, discard=discard, checkpoint=resumed)


def test_maps_that_agree_at_the_first_state_are_distinguished(tmp_path):
    # From zero Hénon's map goes to (1, 0) for all parameters.
    x0, resumed = start(0, 0), Checkpoint(tmp_path / "orbit.npz", resume=True)
    orbit(henon(), x0, iterations=20, checkpoint=resumed)
    for other in (henon(1.2), henon(1.4, 0.1)):
        with pytest.raises(UserError, match="differs in the map there"):
            orbit(other, x0, iterations=20, checkpoint=resumed)


def test_a_checkpoint_changes_no_number_of_a_map_that_works_in_place(tmp_path):
    x0 = start(0.3)
    expected = orbit(logistic(3.9), x0, iterations=9)
    found = orbit(logistic_in_place(3.9), x0, iterations=9, checkpoint=tmp_path / "orbit.npz")
    assert torch.allclose(found, expected, rtol=1e-12) and x0.tolist() == [0.3]


def test_progress_counts_all_iterations():
    reported = []
    checkpoint = Checkpoint(progress=lambda *counts: reported.append(counts))
    orbit(logistic(3.2), start(0.3), iterations=2, discard=3, checkpoint=checkpoint)
    assert reported == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: orbit(f, x, iterations=2.5), "iterations is 2.5; allowed: an integer of at least 1"),
        (lambda f, x: orbit(f, x, iterations=0), "iterations is 0"),
        (lambda f, x: orbit(f, x, iterations=2, discard="3"), "discard is '3'"),
        (lambda _, x: orbit("map", x, iterations=2), "step is 'map'; allowed: a function"),
        (lambda f, x: orbit(x, f, iterations=2), "x0 is .*; allowed: .*array"),
        (lambda f, _: orbit(f, "0.3", iterations=2), "x0 is '0.3'; allowed: .*array"),
        (lambda f, _: orbit(f, start(np.nan), iterations=2), "x0 .*NaN or Inf"),
        (lambda f, x: orbit(f, x.long(), iterations=2), "x0 is a torch.int64 tensor"),
        (lambda f, x: orbit(f, x, iterations=2, checkpoint=3), "checkpoint is 3"),
        (lambda _, x: orbit(lambda x: x[0], x, iterations=2), r"step turned .*\[1\].* into .*\[\]"),
        (lambda _, x: orbit(lambda _: 1.0, x, iterations=2), "step turned .* into 1.0"),
        (lambda _, x: orbit(logistic(9.0), x, iterations=99), "diverged.*after iteration"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(logistic(3.2), start(0.3))
    assert "\n" not in str(caught.value)
