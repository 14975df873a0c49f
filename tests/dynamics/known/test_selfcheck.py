"""`denoscope selfcheck`: all checks pass, expected values are the published ones, and broken measures fail."""

import dataclasses
import math

import pytest

from denoscope import dynamics
from denoscope.cli.command import main
from denoscope.dynamics.known import gaussian_data, geometry, maps, mixture, rounding, selfcheck
from denoscope.dynamics.known.selfcheck import Check
from denoscope.foundation.errors import UserError

# From the literature and from closed forms, not from the package.
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


SHORT = (
    "Newton's basins",
    "boundary of two Gaussians",
    "maps of fifty steps",
    "points and series",
    "rounding",
)
"""Groups that take seconds."""


@pytest.fixture(scope="module")
def groups():
    """The checks of some groups, which the default run measures."""
    every = selfcheck._groups(True)
    return {group: every[group]() for group in SHORT}


@pytest.fixture(scope="module")
def short(groups):
    return {check.name: check for checks in groups.values() for check in checks}


@pytest.fixture(scope="module")
def quick():
    return {check.name: check for check in selfcheck.run(quick=True)}


def only(monkeypatch, group):
    """Let the command check a single group."""
    monkeypatch.setattr(selfcheck, "_groups", lambda _quick: {"the group": group})


def exit_code(*flags: str) -> int:
    try:
        main(["selfcheck", *flags])
    except SystemExit as stop:
        return stop.code
    return 0


def test_the_checks_of_short_groups_pass(short):
    assert not [str(check) for check in short.values() if not check.passes]
    assert len(short) > 40


@pytest.mark.slow
def test_all_quick_checks_pass(quick):
    assert not [str(check) for check in quick.values() if not check.passes]
    assert len(quick) > 50


@pytest.mark.parametrize(
    "name", [name for name in PUBLISHED if name.startswith(("Newton", "two", "Hénon", "cat"))]
)
def test_expected_values_of_short_groups_are_the_published_ones(short, name):
    assert short[name].expected == pytest.approx(PUBLISHED[name], rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_expected_values_are_the_published_ones(quick, name):
    assert quick[name].expected == pytest.approx(PUBLISHED[name], rel=1e-8)


@pytest.mark.slow
def test_the_fake_fractal_is_recognised(quick):
    verdicts = {name.partition(", ")[2]: check.measured for name, check in quick.items() if "verdict" in name}
    assert verdicts["DDPM, 40² cells, common noise: verdict"] == "smooth"
    assert verdicts["DDPM, 40² cells, noise per cell: verdict"] == "noise"


def test_the_command_prints_a_line_per_quantity(monkeypatch, capsys, groups):
    only(monkeypatch, lambda: groups["points and series"])
    assert exit_code("--quick") == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["quantity", "expected", "measured", "error", "allowed"]
    assert len(lines) == len(groups["points and series"]) and all(line.endswith(" ok") for line in lines)
    assert last == f"{len(lines)} quantities, 0 failed"


def off_by(measure, amount):
    """A measure with a wrong value."""

    def wrong(*args, **options):
        found = measure(*args, **options)
        return dataclasses.replace(found, value=found.value + amount)

    return wrong


def test_broken_measures_fail_with_exit_code_1(monkeypatch, capsys):
    only(monkeypatch, geometry.checks)
    for name, amount in (("zero_one", 0.1), ("linear_cka", 0.1), ("kaplan_yorke", math.nan)):
        monkeypatch.setattr(dynamics, name, off_by(getattr(dynamics, name), amount))
    assert exit_code() == 1
    _, *lines, last = capsys.readouterr().out.splitlines()
    words = ("0–1", "CKA", "Kaplan–Yorke")
    for line in lines:
        assert line.endswith("FAILS" if any(word in line for word in words) else "ok")
    assert last == f"{len(lines)} quantities, 6 failed"


def test_a_measure_that_raises_an_error_fails(monkeypatch, capsys):
    def refuse(*_args, **_options):
        raise UserError("no such\nthing")

    only(monkeypatch, geometry.checks)
    monkeypatch.setattr(dynamics, "kaplan_yorke", refuse)
    assert exit_code() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("the group: UserError: no such thing") and lines[1].endswith("FAILS")


def test_measures_that_say_nothing_of_rounding_fail(monkeypatch):
    """Without their warnings and refusals, the checks of rounding fail."""

    def silenced(measure):
        return lambda *args, **options: dataclasses.replace(measure(*args, **options), warnings=())

    for name in ("spectrum", "lyapunov"):
        monkeypatch.setattr(dynamics, name, silenced(getattr(dynamics, name)))
    failed = [check for check in rounding.checks() if not check.passes]
    assert len(failed) == 5 and {check.measured for check in failed} == {"silent"}


@pytest.mark.slow
def test_exponents_with_an_error_of_a_millionth_fail(monkeypatch):
    measure = dynamics.spectrum

    def wrong(*args, **options):
        found = measure(*args, **options)
        return dataclasses.replace(found, exponents=found.exponents + 1e-6)

    monkeypatch.setattr(dynamics, "spectrum", wrong)
    failed = {check.name for check in gaussian_data.checks() if not check.passes}
    assert len(failed) == 9 and sum("singular value" in name for name in failed) == 8
    assert "Gaussian, DDIM N=50, ε in step 25: exponent" in failed


def test_a_wrong_probability_of_return_fails(monkeypatch):
    measure = dynamics.u_turn
    monkeypatch.setattr(
        dynamics, "u_turn", lambda *args, **o: measure(*args, **o).assign(probability=("level", [0.7]))
    )
    decides, back = mixture.decided()
    assert decides.passes and not back.passes


@pytest.mark.slow
def test_independent_noise_in_place_of_common_noise_fails(monkeypatch):
    draw = mixture.sample
    monkeypatch.setattr(mixture, "sample", lambda *args, **o: draw(*args, **{**o, "noise": "independent"}))
    line, dimension, common, independent = mixture.fake_fractal(40)
    assert not line.passes and not dimension.passes
    assert common.measured == "noise" and not common.passes and independent.passes


def test_a_frame_that_is_not_orthonormal_fails(monkeypatch):
    """Without orthonormalization the second exponent equals the first."""

    def naive(denoiser, x_T, **options):
        found = measure(denoiser, x_T, **options)
        return dataclasses.replace(found, exponents=found.exponents[[0, 0]])

    measure = dynamics.full_spectrum
    monkeypatch.setattr(dynamics, "full_spectrum", naive)
    failed = [check.name for check in maps.finite_maps() if not check.passes]
    assert "cat map, DDIM N=50: second exponent per step" in failed


@pytest.mark.parametrize(
    ("check", "passes"),
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
def test_which_errors_pass(check, passes):
    assert check.passes is passes
    assert str(check).endswith("ok" if passes else "FAILS")


def test_an_unknown_flag_gives_one_line_and_exit_code_2(capsys):
    assert exit_code("--fast") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.slow
def test_all_checks_pass(capsys):
    assert exit_code() == 0
    table = capsys.readouterr().out
    assert "FAILS" not in table and "correlation dimension" in table and "180² cells" in table
    assert table.splitlines()[-1] == "84 quantities, 0 failed"
