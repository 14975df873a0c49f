"""Help, version, unknown commands, and the ways to start the command."""

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import check_refusal

from denoscope.cli import registry
from denoscope.cli.command import main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_verb(capsys, arguments):
    main(arguments)
    out = capsys.readouterr().out
    for name in registry.VERBS:
        assert f"  {name} " in out and registry.verb(name).help in out


@pytest.mark.parametrize("verb", registry.VERBS)
def test_help_of_a_verb_lists_its_flags(capsys, verb):
    with pytest.raises(SystemExit) as caught:
        main([*verb.split(), "--help"])
    assert not caught.value.code
    out = capsys.readouterr().out
    for _, _, flag in registry.verb(verb).fields():
        assert f"--{flag}" in out or f"--{flag.replace('_', '-')}" in out


@pytest.mark.parametrize("columns", ["1", "39"])
def test_help_is_complete_on_the_narrowest_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as caught:
        main(["record", "--help"])
    assert not caught.value.code and "--num_steps" in capsys.readouterr().out
    assert os.environ["COLUMNS"] == columns


@pytest.mark.parametrize("line", ["noise --help", "verify -h", "dynamics", "help basins"])
def test_help_of_a_group_lists_its_verbs_only(capsys, line):
    main(line.split())
    out = capsys.readouterr().out
    group = next(word for word in line.split() if word not in ("help", "--help", "-h"))
    for name in registry.VERBS:
        assert (f"  {name} " in out and registry.verb(name).help in out) == name.startswith(f"{group} ")


def test_version_is_that_of_the_package(capsys):
    main(["--version"])
    assert capsys.readouterr().out.strip() == importlib.metadata.version("denoscope")


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("recrod", ["'recrod'", "record"]),
        ("noise radnom", ["'noise radnom'", "noise random"]),
        ("noise spherical", ["'noise spherical'", "noise plane"]),
        ("--inputs nowhere", ["'--inputs nowhere'", "--help"]),
    ],
)
def test_unknown_command_is_refused_with_the_nearest(refused, here, line, fragments):
    refused(line, *fragments)
    assert not list(here.iterdir())


PROGRAMS = {
    "module": [sys.executable, "-m", "denoscope"],
    "program": [str(Path(sys.executable).with_name("denoscope"))],
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_package_runs_as_a_module_and_as_a_program(kind):
    words = [*PROGRAMS[kind], "record", "--batch_size", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    check_refusal(done.stderr, "--batch_size is 0")


def test_a_closed_pipe_ends_the_command_quietly():
    """The reader of the output, such as `head`, has gone before the command writes."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [*PROGRAMS["module"], "--help"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == "" and done.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("help xyz", "unknown command 'xyz' (see denoscope --help)"),
        ("recrod", "unknown command 'recrod'; did you mean record? (see denoscope --help)"),
        ("map", "unknown command 'map'; did you mean basins map? (see denoscope --help)"),
        ("dynamisc", "unknown command 'dynamisc'; did you mean dynamics? (see denoscope --help)"),
        ("--hlep", "unknown command '--hlep' (see denoscope --help)"),
    ],
)
def test_an_unknown_command_gets_only_close_suggestions(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert capsys.readouterr().err == f"error: {message}\n"
