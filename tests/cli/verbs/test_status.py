"""The status of a recording on the screen, once or until its run ends."""

import os
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from command_line import call

from denoscope.cli.verbs import status as verb
from denoscope.models import loading
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.watching import start

LOCK = "complete/lock"


@pytest.fixture
def turns(copied, monkeypatch):
    """Let a recording be written, and call the next of some functions in each pause of the command; the last one ends it."""
    path = copied("pairs.zarr")
    root = path / "zarr.json"
    begun = re.sub(r'("created": )"[^"]*"', r'\1"2020-01-01T00:00:00+00:00"', root.read_text())
    root.write_text(begun)  # long ago, so that no rate follows from it

    def run(*between):
        with ExitStack() as stack:
            assert stack.enter_context(LocalStore(path).lock(LOCK))
            pending = [*between, stack.close]
            monkeypatch.setattr(verb.time, "sleep", lambda _: pending.pop(0)())
            call("status run.zarr --watch")
            assert not pending

    run.marks = path / "complete" / "marks"
    return run


def test_it_is_shown_once(copied, capsys):
    copied("pairs.zarr")
    call("status run.zarr")
    assert capsys.readouterr().out == "run.zarr: 6 of 6 samples are done\n"
    call("status run.zarr --watch")
    assert capsys.readouterr().out == "run.zarr: 6 of 6 samples are done\n"


def test_without_a_terminal_each_change_is_a_line(turns, capsys):
    mark = turns.marks / "0.json"
    data = mark.read_bytes()
    mark.unlink()
    turns(lambda: None, lambda: mark.write_bytes(data), lambda: None)
    assert capsys.readouterr().out.splitlines() == [
        "run.zarr: 0 of 6 samples are done",
        "  being written by one process",
        "run.zarr: 6 of 6 samples are done; being written by one process",
        "run.zarr: 6 of 6 samples are done",
    ]


def test_on_a_terminal_it_stays_in_its_place(turns, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "31")
    turns()
    assert capsys.readouterr().out == (
        "run.zarr: 6 of 6 samples are d\n  being written by one process\n"
        "\033[2A\033[Jrun.zarr: 6 of 6 samples are d\n"
    )


def test_what_cannot_be_read_for_a_moment_is_waited_for(turns, capsys):
    root = turns.marks.parents[1] / "zarr.json"
    data = root.read_bytes()
    turns(root.unlink, lambda: root.write_bytes(data))
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.usefixtures("inputs")
def test_a_recording_is_starting_while_its_model_is_loaded(small_model, monkeypatch, capsys):
    load = loading.load

    def slow(*given, **options):
        call("status run.zarr")
        return load(*given, **options)

    monkeypatch.setattr(loading, "load", slow)
    call(f"record --model {small_model} --num_steps 1 --output run.zarr")
    assert capsys.readouterr().out.splitlines() == [
        f"run.zarr: starting, by process {os.getpid()} on {socket.gethostname()}",
        "recorded in run.zarr",
    ]
    assert not list(Path.cwd().glob(".*"))


def test_a_recording_that_is_starting_is_watched(copied, monkeypatch, capsys):
    copied("pairs.zarr")
    with ExitStack() as stack:
        stack.enter_context(start.announced(Path("run.zarr")))
        monkeypatch.setattr(verb.time, "sleep", lambda _: stack.close())
        call("status run.zarr --watch")
    assert capsys.readouterr().out.splitlines() == [
        "run.zarr: 6 of 6 samples are done",
        f"  starting, by process {os.getpid()} on {socket.gethostname()}",
        "run.zarr: 6 of 6 samples are done",
    ]


def test_ctrl_c_ends_it(turns, capsys):
    def press():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        turns(press)
    assert caught.value.code == 130 and capsys.readouterr().err == "\nstopped\n"
