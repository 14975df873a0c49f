"""Lyapunov exponents against closed forms and published values."""

import math

import numpy as np
import pytest
import torch
from known_maps import henon, logistic, start

from denoscope.dynamics.loops import derivative
from denoscope.dynamics.loops.kaplan_yorke import kaplan_yorke
from denoscope.dynamics.loops.lyapunov import HISTORY, lyapunov
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError

GOLDEN = math.log((3 + math.sqrt(5)) / 2)
"""The exponent of the cat map, the logarithm of its larger eigenvalue: 0.9624237."""


def lorenz(s):
    x, y, z = s
    return torch.stack((10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z))


def runge_kutta(flow, h):
    def step(s):
        a = flow(s)
        b = flow(s + h / 2 * a)
        c = flow(s + h / 2 * b)
        d = flow(s + h * c)
        return s + h / 6 * (a + 2 * b + 2 * c + d)

    return step


def holds(interval, value):
    return interval[0] <= value <= interval[1]


def test_logistic_at_four_is_ln_2():
    found = lyapunov(logistic(4.0), start(0.3), iterations=1500)
    assert found.exponents.shape == (1,)
    assert found.exponents[0] == pytest.approx(math.log(2), abs=2e-3)
    assert holds(found.intervals[0], math.log(2))
    assert not found.warnings


@pytest.mark.parametrize(("r", "multiplier"), [(3.2, 4 + 2 * 3.2 - 3.2**2), (2.8, 2 - 2.8)])
def test_logistic_on_a_cycle_has_the_logarithm_of_its_multiplier(r, multiplier):
    """At 3.2 that is the published −0.9162907."""
    period = 2 if r > 3 else 1
    found = lyapunov(logistic(r), start(0.3), iterations=100, discard=1000)
    assert found.exponents[0] == pytest.approx(math.log(abs(multiplier)) / period, abs=1e-9)


def test_cat_map():
    matrix = start(2, 1, 1, 1).reshape(2, 2)
    found = lyapunov(lambda x: (matrix @ x) % 1, start(0.1, 0.37), iterations=100)
    assert found.exponents == pytest.approx([GOLDEN, -GOLDEN], abs=1e-9)


def test_henon_and_its_dimension():
    found = lyapunov(henon(), start(0, 0), iterations=2000)
    assert found.exponents == pytest.approx([0.41929, -1.62327], abs=0.01)
    assert found.exponents.sum() == pytest.approx(math.log(0.3), abs=1e-12)
    assert holds(found.intervals[0], 0.41929)
    assert holds(found.intervals[1], -1.62327)
    dimension = kaplan_yorke(found)
    assert dimension.value == pytest.approx(1.2583, abs=0.005)
    assert holds(dimension.interval, 1.2583)
    assert not found.warnings and not dimension.warnings


def test_an_interrupted_measurement_is_resumed_to_the_same_bits(tmp_path):
    out, options = tmp_path / "orbit.npz", {"iterations": 150, "seed": 3}
    whole = lyapunov(henon(), start(0, 0), **options)

    def stop(finished, total):
        assert total == 250, "the last hundred discarded iterations align the frame"
        if finished == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lyapunov(henon(), start(0, 0), checkpoint=Checkpoint(out, progress=stop), **options)
    saved, reported = int(checkpoint.read(out)["done"]), []
    assert 0 < saved <= 150
    found = lyapunov(
        henon(),
        start(0, 0),
        checkpoint=Checkpoint(out, resume=True, progress=lambda done, _: reported.append(done)),
        **options,
    )
    assert reported[0] == saved + 1 and reported[-1] == 250
    assert found.exponents.tobytes() == whole.exponents.tobytes()
    assert found.history.tobytes() == whole.history.tobytes()
    for other, differing in ((logistic(3.9), {}), (henon(), {"k": 1}), (henon(), {"seed": 1})):
        with pytest.raises(UserError, match="cannot be resumed, since it differs in "):
            lyapunov(other, start(0, 0), checkpoint=Checkpoint(out, resume=True), **options | differing)


def test_a_finished_measurement_is_extended_and_its_beginning_measured(tmp_path):
    out, options = tmp_path / "orbit.npz", {"seed": 3}
    for iterations, done in ((50, 150), (150, 250), (100, 250)):
        found = lyapunov(
            henon(),
            start(0, 0),
            iterations=iterations,
            checkpoint=Checkpoint(out, resume=out.exists()),
            **options,
        )
        expected = lyapunov(henon(), start(0, 0), iterations=iterations, **options)
        assert found.exponents.tobytes() == expected.exponents.tobytes()
        assert found.history.tobytes() == expected.history.tobytes()
        assert checkpoint.read(out)["done"] == done


@pytest.mark.slow
def test_lorenz_per_unit_of_time():
    h = 0.02
    found = lyapunov(runge_kutta(lorenz, h), start(1.0, 1.0, 1.0), iterations=3000, discard=500, k=3)
    for k, expected in enumerate([0.906, 0.0, -14.572]):
        assert holds(found.intervals[k] / h, expected)
    assert found.exponents / h == pytest.approx([0.906, 0, -14.572], abs=0.1)
    # The trace of the flow's Jacobian is the same everywhere: −(10 + 1 + 8/3).
    assert found.exponents.sum() / h == pytest.approx(-41 / 3, abs=0.01)
    assert kaplan_yorke(found.exponents).value == pytest.approx(2.062, abs=0.01)


@pytest.mark.parametrize("numbers", [3, 24])
def test_exponents_of_a_linear_map_are_the_logarithms_of_its_moduli(numbers):
    rng = np.random.default_rng(3)
    moduli = np.concatenate([[0.95, 0.6, 0.3], np.full(numbers - 3, 0.1)])
    change = rng.normal(size=(numbers, numbers))
    matrix = torch.from_numpy(change @ np.diag(moduli) @ np.linalg.inv(change))
    found = lyapunov(lambda x: matrix @ x, torch.ones(numbers, dtype=torch.float64), iterations=60, k=3)
    assert found.exponents == pytest.approx(np.log([0.95, 0.6, 0.3]), abs=1e-9)
    expected = "whole Jacobian by reverse mode" if numbers == 3 else "torch.func.jvp"
    assert found.origin["derivative"] == expected


def test_a_shrinking_rotation_has_two_equal_exponents():
    matrix = 0.9 * start(math.cos(1), -math.sin(1), math.sin(1), math.cos(1)).reshape(2, 2)
    found = lyapunov(lambda x: matrix @ x, start(1, 0), iterations=60)
    assert found.exponents == pytest.approx(np.log([0.9, 0.9]), abs=1e-12)


def test_nearly_equal_exponents_are_in_descending_order():
    change = np.random.default_rng(0).normal(size=(4, 4))
    turn = np.array([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]])
    blocks = np.kron(np.diag([0.9, 0.9]), turn)
    matrix = torch.from_numpy(change @ blocks @ np.linalg.inv(change))
    for seed in range(5):
        options = {"iterations": 40, "k": 4, "discard": 0, "seed": seed}
        found = lyapunov(lambda x: matrix @ x, torch.ones(4, dtype=torch.float64), **options)
        assert (np.diff(found.exponents) <= 0).all()
        assert found.exponents.sum() == pytest.approx(4 * math.log(0.9), abs=1e-9)


def test_states_of_any_shape_and_fewer_exponents_than_numbers():
    found = lyapunov(
        lambda x: henon()(x.flatten()).reshape(1, 2, 1), torch.zeros(1, 2, 1).double(), iterations=100, k=1
    )
    plain = lyapunov(henon(), start(0, 0), iterations=100, k=1)
    assert found.exponents == pytest.approx(plain.exponents, abs=1e-12)


def test_all_methods_of_differentiation_agree(monkeypatch):
    options = {"iterations": 80, "discard": 20}
    whole = lyapunov(henon(), start(0, 0), **options)
    monkeypatch.setattr(derivative, "SMALL_STATE", 0)
    forward = lyapunov(henon(), start(0, 0), **options)
    monkeypatch.setitem(derivative.METHODS, "torch.func.jvp", derivative.by_differences)
    central = lyapunov(henon(), start(0, 0), **options)
    assert forward.origin["derivative"] == "torch.func.jvp"
    assert forward.exponents == pytest.approx(whole.exponents, abs=1e-9)
    assert central.exponents == pytest.approx(whole.exponents, abs=1e-6)


def test_a_map_that_leaves_torch_falls_back_to_central_differences():
    def by_numpy(x):
        a, b = x.detach().numpy()
        return torch.tensor([1 - 1.4 * a**2 + b, 0.3 * a], dtype=torch.float64)

    found = lyapunov(by_numpy, start(0, 0), iterations=80)
    exact = lyapunov(henon(), start(0, 0), iterations=80)
    assert found.origin["derivative"] == "central differences"
    assert any("central differences with separation" in line for line in found.warnings)
    assert found.exponents == pytest.approx(exact.exponents, abs=1e-5)


def test_a_silently_wrong_derivative_is_detected():
    def half_detached(x):
        return 0.5 * x + 0.3 * x.detach()

    found = lyapunov(half_detached, start(1.0, 2.0), iterations=50)
    assert found.exponents == pytest.approx(np.log([0.8, 0.8]), abs=1e-6)
    assert any("disagrees" in line for line in found.warnings)


class Pushed:
    """x ← gain · x + noise with an alternating gain: a driven map."""

    def at(self, iteration):
        gain = 0.5 if iteration % 2 else 0.25
        return lambda x: gain * x + math.sin(iteration)


def test_a_driven_map_has_its_own_map_at_each_iteration():
    found = lyapunov(Pushed(), start(1.0), iterations=100)
    assert found.exponents[0] == pytest.approx(math.log(0.5 * 0.25) / 2, abs=1e-12)


def skew_tent(x, a=0.3):
    return torch.where(x < a, x / a, (1 - x) / (1 - a))


@pytest.mark.slow
def test_the_interval_covers_the_true_exponent_at_its_confidence_level():
    # The symbols of the skew tent map are independent: its exponent is the entropy of a biased coin.
    truth = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    starts = np.random.default_rng(0).uniform(size=30)
    runs = [lyapunov(skew_tent, start(x), iterations=400, discard=10) for x in starts]
    covered = sum(holds(run.intervals[0], truth) for run in runs)
    # Binomial with 0.95: 25 or fewer of 30 have a probability of 0.3 %.
    assert covered >= 26
    assert np.mean([np.diff(run.intervals[0]) for run in runs]) < 0.1


def test_a_seed_is_reproducible_and_the_history_ends_at_the_exponents():
    first, second = (lyapunov(henon(), start(0, 0), iterations=250, seed=5) for _ in range(2))
    assert np.array_equal(first.exponents, second.exponents)
    assert first.history_iterations[-1] == 250 and len(first.history) <= HISTORY
    assert first.history[-1] == pytest.approx(first.exponents, abs=1e-12)


def test_a_singular_derivative_gives_minus_infinity_and_a_warning():
    found = lyapunov(logistic(2.0), start(0.5), iterations=50)
    assert found.exponents[0] == -np.inf
    assert any("singular" in line for line in found.warnings)
    assert found.to_dict()["exponents"] == [None]


def test_few_iterations_float32_and_slow_convergence_give_warnings():
    found = lyapunov(logistic(3.2), torch.tensor([0.3]), iterations=50)
    assert any("few" in line for line in found.warnings)
    assert any("float32" in line for line in found.warnings)

    class Changing:
        def at(self, iteration):
            return logistic(3.2 if iteration < 200 else 2.8)

    changed = lyapunov(Changing(), start(0.3), iterations=400, discard=0)
    assert any("not converged" in line for line in changed.warnings)


def test_directions_that_float64_does_not_resolve_give_a_warning():
    gains = start(0.9, 1e-17)
    found = lyapunov(lambda x: gains * x, start(0.1, 0.2), iterations=50)
    assert any("resolves" in line for line in found.warnings)


def test_a_diverging_orbit_is_refused_with_its_iteration():
    # x_n = 2^(2^n) overflows at n = 10.
    with pytest.raises(UserError, match=r"diverged.*after iteration 10"):
        lyapunov(lambda x: x * x, start(2.0), iterations=50, discard=0)
    with pytest.raises(UserError, match=r"diverged.*after iteration 10"):
        lyapunov(lambda x: x * x, start(2.0), iterations=50, discard=200)


def test_a_derivative_that_is_not_finite_is_refused():
    class Rooted:
        def at(self, iteration):
            return lambda x: (0 * x).sqrt() if iteration == 6 else 0.5 * x

    with pytest.raises(UserError, match="derivative of step is not finite at iteration 7"):
        lyapunov(Rooted(), start(1.0), iterations=50, discard=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 39}, "at least 40"),
        ({"discard": -1}, "discard"),
        ({"k": 0}, "k is 0; allowed: 1 to 2, the size of a state"),
        ({"k": 3}, "k is 3; allowed: 1 to 2"),
        ({"k": 1.5}, "k is 1.5; allowed: integers 1 to 2"),
        ({"k": "2"}, "k is '2'"),
        ({"k": True}, "k is True"),
        ({"iterations": math.nan}, "iterations is nan; allowed: an integer of at least 40"),
        ({"iterations": 50.5}, "iterations is 50.5"),
        ({"discard": 2.5}, "discard is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"confidence": 1.5}, "confidence"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        lyapunov(henon(), start(0, 0), **{"iterations": 40, **options})


def test_wrong_first_states_are_refused():
    with pytest.raises(UserError, match=r"x0 is a torch.int64 tensor .*floating-point"):
        lyapunov(henon(), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(UserError, match=r"x0 .*NaN"):
        lyapunov(henon(), start(0, math.nan))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (None, "step is None; allowed: a function"),
        (3.0, "step is 3.0; allowed: a function"),
        (lambda _: 0.5, "step turned a tensor .* into 0.5; allowed: "),
        (lambda x: x.tolist(), "into \\[0.0, 0.0\\]; allowed: "),
        (lambda x: x[:1], r"\[2\] into .*\[1\]; allowed: .*\[2\]"),
        (lambda x: x.float(), "float64 .* into torch.float32"),
    ],
)
@pytest.mark.parametrize("discard", [0, 3])
def test_steps_that_return_no_state_are_refused(step, message, discard):
    with pytest.raises(UserError, match=message):
        lyapunov(step, start(0, 0), iterations=40, discard=discard)


def test_a_state_of_one_number_has_one_exponent():
    assert len(lyapunov(lambda x: 0.5 * x, start(1.0), iterations=40).exponents) == 1
    with pytest.raises(UserError, match="k is 2; allowed: 1 to 1"):
        lyapunov(lambda x: 0.5 * x, start(1.0), iterations=40, k=2)


def test_maps_that_agree_at_one_state_are_distinguished(tmp_path):
    x0, out = torch.zeros(2, dtype=torch.float64), tmp_path / "lyapunov.npz"
    lyapunov(henon(1.4), x0, iterations=100, checkpoint=out)
    for other in (henon(1.2), henon(1.4, 0.1)):
        with pytest.raises(UserError, match="differs in the map there"):
            lyapunov(other, x0, iterations=200, checkpoint=Checkpoint(out, resume=True))


def test_bfloat16_states_are_iterated_and_resumed(tmp_path):
    x0, step = torch.tensor([0.3], dtype=torch.bfloat16), lambda x: 3.9 * x * (1 - x)
    whole = lyapunov(step, x0, iterations=100, discard=10)
    lyapunov(step, x0, iterations=60, discard=10, checkpoint=tmp_path / "f.npz")
    found = lyapunov(
        step, x0, iterations=100, discard=10, checkpoint=Checkpoint(tmp_path / "f.npz", resume=True)
    )
    assert found.exponents.tolist() == whole.exponents.tolist()


def test_a_map_that_jumps_at_the_start_is_differentiated_exactly():
    found = lyapunov(lambda x: 2 * x % 1, torch.tensor([0.5], dtype=torch.float64), iterations=40, discard=0)
    assert found.exponents[0] == pytest.approx(math.log(2), abs=1e-12)
    cat = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found = lyapunov(lambda x: cat @ x % 1, torch.tensor([0.25, 0.5], dtype=torch.float64), iterations=40)
    assert found.exponents == pytest.approx([0.9624237, -0.9624237], abs=1e-6)
