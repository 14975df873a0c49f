"""Random command lines: each succeeds, or ends with exit code 2 and one line."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st
from random_examples import try_examples

from denoscope.cli import flags, registry
from denoscope.cli.command import main

VALUES = (
    "", "0", "1", "-1", "3", "1.5", "1e3", "nan", "inf", "-inf", "x", "é", "a b", "None", "True", "auto", "mid_block",
    "[]", "1,2", "0:3", "-", "=", "%s", "{}", "nowhere", "nowhere/none.pt", "tiny", "inputs", "run.zarr", "\n",
    "9" * 30, "x" * 300, "0x10", "1_000", "١",
)  # fmt: skip
CHEAP = (
    "noise random", "noise perturbed", "noise plane", "record", "layers", "image", "classify", "compare", "verify store",
    "dynamics divergence", "dynamics similarity", "dynamics distances", "dynamics geometry", "dynamics verdict",
)  # fmt: skip
"""Commands that do little with a tiny model and few noises."""

WRONG = {
    "record --num_steps x": "--num_steps is x; allowed: an integer of at least 1 (see denoscope record --help)",
    "record --num-steps x": "--num-steps is x; allowed: an integer of at least 1",
    "record --num-steps 0": "--num-steps is 0; allowed: an integer of at least 1",
    "record --num-steps=0 --batch_size 2": "--num-steps is 0; allowed: an integer of at least 1",
    "record --num-stesp 3": "unknown flag --num-stesp; did you mean --num-steps? (see denoscope record --help)",
    "record --num_stesp 3": "unknown flag --num_stesp; did you mean --num_steps? (see denoscope record --help)",
    "record --num_steps": "--num_steps has no value; allowed: an integer of at least 1",
    "record --guidance_scale=x": "--guidance_scale is x; allowed: a number of at least 1",
    "record --labels a": "--labels is a; allowed: integers of at least 0",
    "record --dtype half": "--dtype is half; allowed: auto, float16, bfloat16, float32, float64",
    "record --clip_sample 3": "--clip_sample is 3; allowed: True or False",
    "record --fast=maybe": "--fast=maybe is given a value; allowed: --fast alone",
    "noise plane --direction_seeds 1": "--direction_seeds is 1; allowed: two different integers of at least 0",
    "noise random --seed 1e3": "--seed is 1e3; allowed: an integer of at least 0",
    "noise random --num_samples 99999999999999999999": "--num_samples is 99999999999999999999; allowed: an integer of at least 1 and below 2**63",
    "verify store --path run.zarr": "unknown flag --path; PATH is given without a flag (see denoscope verify store --help)",
    "explore --no_no_browser": "unexpected '--no_no_browser'",
    "dynamics verdict": "PATH is missing; allowed: labels of a plane",
    "layers": "MODEL is missing; allowed: a bundled model",
    "compare a b": "unexpected 'a'; allowed: flags, each with its value",
}


@pytest.fixture
def _recorded(here, model, capsys):
    """A tiny model, two noises and a recording in the current folder."""
    (here / "tiny").symlink_to(model)
    main(["noise", "random", "--num_samples", "2", "--model", "tiny"])
    main(["record", "--num_steps", "1", "--model", "tiny", "--output", "run.zarr"])
    capsys.readouterr()


@pytest.mark.parametrize("line", WRONG)
def test_a_word_that_cannot_be_read_is_named_with_what_is_allowed(line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    (message,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and message.startswith(f"error: {WRONG[line]}")


def lines(verbs):
    """The words of a command line: a command, up to four of its flags, and words without a flag."""

    def of(verb):
        known = sorted(flags._fields(registry.verb(verb)))
        value = st.sampled_from(VALUES)
        flag = st.tuples(st.sampled_from(known), value, st.sampled_from((" ", "=", "")), st.booleans())
        return st.tuples(st.just(verb), st.lists(flag, max_size=4), st.lists(value, max_size=2))

    return st.sampled_from(verbs).flatmap(of)


def words_of(drawn):
    verb, given_flags, words = drawn
    for flag, value, between, dashed in given_flags:
        name = "--" + (flag.replace("_", "-") if dashed else flag)
        words = [*words, *({" ": [name, value], "=": [f"{name}={value}"], "": [name]}[between])]
    return [*verb.split(), *words]


def code_of(words):
    """The exit code of a command."""
    try:
        main(words)
    except SystemExit as stop:
        return stop.code
    return 0


def check(words, code, errors):
    """A command succeeded, or was refused in one line."""
    assert code in (0, 2, None), (words, code)
    if code == 2:
        assert errors.startswith("error: ") and len(errors.splitlines()) == 1, (words, errors)
    assert "Traceback" not in errors


def try_lines(verbs, count, capsys):
    def one(drawn):
        words = words_of(drawn)
        check(words, code_of(words), capsys.readouterr().err)

    try_examples(lines(verbs), count, one)


@pytest.fixture
def _nothing_runs(monkeypatch):
    """Commands that end once their flags are read and checked."""
    verb = registry.verb
    monkeypatch.setattr(
        registry, "verb", lambda name: dataclasses.replace(verb(name), run=lambda _settings, _flags: None)
    )


@pytest.mark.usefixtures("_recorded", "_nothing_runs")
def test_any_command_line_is_read_or_refused_in_one_line(capsys):
    try_lines(registry.VERBS, 60, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("_recorded", "_nothing_runs")
def test_thousands_of_command_lines_are_read_or_refused_in_one_line(capsys):
    try_lines(registry.VERBS, 5000, capsys)


IN_THREE_GB = """
import contextlib, io, resource, sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = {path!r}
from random_examples import try_examples
import test_command_lines as lines
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)

def one(drawn):
    words = [*lines.words_of(drawn), "--quiet"]
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        code = lines.code_of(words)
    lines.check(words, code, errors.getvalue())

try_examples(lines.lines(lines.CHEAP), 1000, one)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_recorded")
def test_any_command_line_runs_or_is_refused_in_one_line_within_three_gigabytes(recorder, tmp_path):
    path = [str(Path(__file__).parent), *sys.path]
    code, _, beside = recorder.block(tmp_path, code=IN_THREE_GB.format(path=path))
    assert code == 0, beside


def test_a_command_that_a_notebook_starts_draws_whatever_the_backend_of_the_notebook(recordings, tmp_path):
    """`!denoscope …` has the variable of the kernel, and need not have its package."""
    words = [
        "dynamics",
        "geometry",
        str(recordings / "digits.zarr"),
        "--output",
        str(tmp_path / "paths.json"),
    ]
    environment = os.environ | {"MPLBACKEND": "module://no_such_package.backend_inline"}
    run = subprocess.run(
        [sys.executable, "-m", "denoscope", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0 and (tmp_path / "paths.png").exists(), run.stderr
