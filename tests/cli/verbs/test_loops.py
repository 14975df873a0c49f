"""`denoscope dynamics lyapunov`, `orbit` and `orbit_diagram`."""

import json

import numpy as np
import pytest
from command_line import call

import denoscope as ds
from denoscope import dynamics
from denoscope.foundation import checkpoint


def test_lyapunov_iterates_the_loop_of_the_first_noise(small_model, inputs, here, capsys):
    call(
        f"dynamics lyapunov --model {small_model} --device cpu --num_steps 1 --level 1 --iterations 40 --discard 0 --k 1"
    )
    denoiser = ds.load(small_model, device="cpu")
    x_0 = ds.sample(denoiser, ds.noise.read(inputs).batch([0]), steps=1)[0]
    loop = dynamics.closed_loop(denoiser, 1, steps=1, noise_seed=42)
    expected = dynamics.lyapunov(loop, x_0, iterations=40, discard=0, k=1)
    written = json.loads((here / "lyapunov.json").read_text())
    assert written["exponents"] == expected.exponents.tolist()
    origin = written["origin"]
    assert origin["fingerprint"]["num_steps"] == 1
    assert (origin["begin"], origin["loop_noise"], origin["derivative"]) == (0, "fixed", "torch.func.jvp")
    printed = capsys.readouterr()
    assert printed.out.startswith(f"exponent 1: {expected.exponents[0]:+.4f} per iteration")
    assert "40 iterations" in printed.err


@pytest.mark.usefixtures("inputs")
def test_exponents_without_intervals_are_printed_and_written_as_such(small_model, here, capsys, monkeypatch):
    pinned = dynamics.lyapunov(lambda x: 4 * x * (1 - x), np.array([0.5]), iterations=40)
    monkeypatch.setattr(dynamics, "lyapunov", lambda *_, **__: pinned)
    call(f"dynamics lyapunov --model {small_model} --device cpu --num_steps 1 --level 1")
    printed = capsys.readouterr()
    assert printed.out.startswith("exponent 1: +1.3863 per iteration  no interval")
    assert "intervals are unknown" in printed.err
    assert json.loads((here / "lyapunov.json").read_text())["intervals"] == [[None, None]]


def test_orbit_writes_states_and_measures_and_resumes(small_model, inputs, here, capsys):
    line = f"dynamics orbit --model {small_model} --device cpu --num_steps 2 --discard 3 --loop_noise common"
    call(f"{line} --iterations 30")
    out, denoiser = capsys.readouterr().out, ds.load(small_model, device="cpu")
    assert "period: none of up to 10 iterations" in out and "correlation dimension: not measured" in out
    loop = dynamics.closed_loop(denoiser, 0.5, noise_seed=42, noise="common", steps=2)
    x_0 = ds.sample(denoiser, ds.noise.read(inputs).batch([0]), steps=2)[0]
    states = dynamics.orbit(loop, x_0, iterations=40, discard=3)
    np.testing.assert_array_equal(checkpoint.read("orbit.npz")["state"], states[:30])
    call(f"{line} --iterations 40 --resume")
    np.testing.assert_array_equal(checkpoint.read("orbit.npz")["state"], states)
    written, out = json.loads((here / "orbit.json").read_text()), capsys.readouterr().out
    assert written["recurrence"]["determinism"] == dynamics.recurrence(states, theiler=10).determinism
    origin = written["computed_from"]
    assert origin["fingerprint"]["num_steps"] == 2
    assert (origin["begin"], origin["loop_noise"]) == (1, "common")
    assert (
        out.splitlines()[-3:] == ["orbit.json", "orbit.png", "orbit.npz"] and "recurrence: determinism" in out
    )


def test_orbit_diagram_is_that_of_the_library(small_model, inputs, here, capsys):
    line = (
        f"dynamics orbit_diagram --model {small_model} --device cpu --num_steps 4 --discard 2 --iterations 4"
    )
    call(f"{line} --levels 0.25 1")
    denoiser = ds.load(small_model, device="cpu")
    x_0 = ds.sample(denoiser, ds.noise.read(inputs).batch([0]), steps=4)[0]
    written = json.loads((here / "orbit_diagram.json").read_text())
    lines = capsys.readouterr().out.splitlines()
    for row, level in enumerate((0.25, 1.0)):
        loop = dynamics.closed_loop(denoiser, level, noise_seed=42, steps=4)
        states = dynamics.orbit(loop, x_0, iterations=4, discard=2)
        means = states.double().flatten(1).mean(1).tolist()
        assert written["values"][row] == means and written["computed_from"]["begin"][str(level)] == loop.begin
        assert lines[row] == f"level {level:<5g} mean pixel {min(means):+.6f} to {max(means):+.6f}"
    assert lines[2:] == ["orbit_diagram.json", "orbit_diagram.png", "orbit_diagram.npz"]
    call(f"{line} --output each.json --checkpoint each.npz")
    assert json.loads((here / "each.json").read_text())["parameters"] == [0.25, 0.5, 0.75, 1]
