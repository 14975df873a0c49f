"""`denoscope selfcheck`: its table holds, its expectations are the published ones, and a broken measure shows."""

import dataclasses
import math
import time

import pytest

from denoscope import dynamics
from denoscope.cli.command import main
from denoscope.dynamics.known import gaussian_data, geometry, maps, mixture, selfcheck
from denoscope.dynamics.known.selfcheck import Check
from denoscope.foundation.errors import UserError

# Written down from the literature and from closed forms, not read from the package.
PUBLISHED = {
    "Gaussian, DDIM N=10: singular value at λ=3": 1.4847272576,
    "Gaussian, DDIM N=10: singular value at λ=1": 0.8316958768,
    "Gaussian, DDIM N=50: singular value at λ=3": 1.6796220133,
    "Gaussian, DDIM N=50: singular value at λ=1": 0.9640792715,
    "Gaussian, DDPM N=50: singular value at λ=3": 0.0230480405,
    "Gaussian, DDPM N=50: singular value at λ=1": 0.00768358729,
    "two Gaussians, DDIM N=50: exponent along m": 26.9569954,
    "two Gaussians, DDIM N=50: exponent across": -1.7361045,
    "Hénon, DDIM N=50: ln|det| per step": -1.2039728043,
    "cat map, DDIM N=50: first exponent per step": 0.9624236501,
    "cat map, DDIM N=50: second exponent per step": -0.9624236501,
    "logistic r=3.2, DDIM N=10 iterated: exponent per step": -0.9162907,
    "Newton z³−1, DDIM N=50: basin entropy, boxes of 5": 0.108312,
    "Newton z³−1, DDIM N=50: basin entropy, boxes of 10": 0.162880,
    "Newton z³−1, DDIM N=50: boundary entropy, 5": 0.691350,
    "Newton z³−1, DDIM N=50: boundary entropy, 10": 0.672438,
    "Newton z³−1, DDIM N=50: boundary dimension": 2 - 0.555,
    "Newton z³−1, DDIM N=50: uncertainty exponent": 0.555,
}


@pytest.fixture(scope="module")
def quick():
    return {check.name: check for check in selfcheck.run(quick=True)}


def alone(monkeypatch, group):
    """Let the command check one group."""
    monkeypatch.setattr(selfcheck, "_groups", lambda _quick: {"the group": group})


def ended(*flags: str) -> int:
    try:
        main(["selfcheck", *flags])
    except SystemExit as stop:
        return stop.code
    return 0


def test_all_that_is_quick_holds(quick):
    assert not [str(check) for check in quick.values() if not check.holds]
    assert len(quick) > 50


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_expected_values_are_the_published_ones(quick, name):
    assert quick[name].expected == pytest.approx(PUBLISHED[name], rel=1e-8)


def test_the_fake_fractal_is_told_from_the_straight_line(quick):
    verdicts = {name.partition(", ")[2]: check.measured for name, check in quick.items() if "verdict" in name}
    assert verdicts["DDPM, 40² cells, common noise: verdict"] == "smooth"
    assert verdicts["DDPM, 40² cells, noise per cell: verdict"] == "noise"


def test_the_command_prints_a_line_for_each_quantity(monkeypatch, capsys):
    alone(monkeypatch, geometry.checks)
    assert ended("--quick") == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["quantity", "expected", "measured", "error", "allowed"]
    assert len(lines) == len(geometry.checks()) and all(line.endswith(" ok") for line in lines)
    assert last == f"{len(lines)} quantities, 0 of them missed"


def off_by(measure, amount):
    """A measure whose value is wrong by so much."""

    def wrong(*args, **options):
        found = measure(*args, **options)
        return dataclasses.replace(found, value=found.value + amount)

    return wrong


@pytest.mark.parametrize("name", ["zero_one", "linear_cka", "kaplan_yorke"])
@pytest.mark.parametrize("amount", [0.1, math.nan])
def test_a_broken_measure_misses_and_ends_with_1(monkeypatch, capsys, name, amount):
    alone(monkeypatch, geometry.checks)
    monkeypatch.setattr(dynamics, name, off_by(getattr(dynamics, name), amount))
    assert ended() == 1
    *lines, last = capsys.readouterr().out.splitlines()
    missed = [line for line in lines if line.endswith("MISSES")]
    word = {"zero_one": "0–1", "linear_cka": "CKA", "kaplan_yorke": "Kaplan–Yorke"}[name]
    assert missed and all(word in line for line in missed)
    assert last.endswith(f"{len(missed)} of them missed")


def test_a_measure_that_raises_misses_too(monkeypatch, capsys):
    def refuse(*_args, **_options):
        raise UserError("no such\nthing")

    alone(monkeypatch, geometry.checks)
    monkeypatch.setattr(dynamics, "recurrence", refuse)
    assert ended() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("the group: UserError: no such thing") and lines[1].endswith("MISSES")


def test_exponents_that_are_a_millionth_off_miss(monkeypatch):
    measure = dynamics.spectrum

    def wrong(*args, **options):
        found = measure(*args, **options)
        return dataclasses.replace(found, exponents=found.exponents + 1e-6)

    monkeypatch.setattr(dynamics, "spectrum", wrong)
    missed = {check.name for check in gaussian_data.checks() if not check.holds}
    assert len(missed) == 9 and sum("singular value" in name for name in missed) == 8
    assert "Gaussian, DDIM N=50, ε in step 25: exponent" in missed


def test_a_turn_that_comes_back_too_often_misses(monkeypatch):
    measure = dynamics.u_turn
    monkeypatch.setattr(
        dynamics, "u_turn", lambda *args, **o: measure(*args, **o).assign(probability=("level", [0.7]))
    )
    decides, back = mixture.decided()
    assert decides.holds and not back.holds


def test_common_noise_that_is_not_common_misses(monkeypatch):
    draw = mixture.sample
    monkeypatch.setattr(mixture, "sample", lambda *args, **o: draw(*args, **{**o, "noise": "independent"}))
    line, dimension, common, independent = mixture.fake_fractal(40)
    assert not line.holds and not dimension.holds
    assert common.measured == "noise" and not common.holds and independent.holds


def test_a_second_exponent_that_fell_in_with_the_first_misses(monkeypatch):
    """As it does where directions are not kept orthonormal."""

    def naive(denoiser, x_T, **options):
        found = measure(denoiser, x_T, **options)
        return dataclasses.replace(found, exponents=found.exponents[[0, 0]])

    measure = dynamics.full_spectrum
    monkeypatch.setattr(dynamics, "full_spectrum", naive)
    missed = [check.name for check in maps.finite_maps() if not check.holds]
    assert "cat map, DDIM N=50: second exponent per step" in missed


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check("a", 1.0, 1.05, 0.1), True),
        (Check("a", 1.0, 1.2, 0.1), False),
        (Check("a", 0, 0), True),
        (Check("a", 0, 1), False),
        (Check("a", 1.0, math.nan, 0.1), False),
        (Check("a", 1.0, math.inf, 0.1), False),
        (Check("a", "smooth", "smooth"), True),
        (Check("a", "smooth", "noise"), False),
    ],
)
def test_what_holds(check, holds):
    assert check.holds is holds
    assert str(check).endswith("ok" if holds else "MISSES")


def test_a_wrong_flag_is_one_line_and_exit_2(capsys):
    assert ended("--fast") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.slow
def test_all_of_it_holds_within_two_minutes(capsys):
    begun = time.monotonic()
    assert ended() == 0
    assert time.monotonic() - begun < 120
    table = capsys.readouterr().out
    assert "MISSES" not in table and "correlation dimension" in table and "180² cells" in table
