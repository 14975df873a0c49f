"""Progress: a bar on a terminal, one line a minute elsewhere, nothing if it is not wanted."""

import logging
import sys

import pytest

from denoscope.cli import messages, progress
from denoscope.cli.messages import Verbosity
from denoscope.cli.progress import Counter

SHOWN = (("12%", 7), ("22%", 13), ("32%", 19), ("42%", 25))
"""The lines about 60 pieces of ten seconds each, half of which are done; the minutes begin with the first piece."""


@pytest.fixture
def terminal(capsys, monkeypatch):  # noqa: ARG001 – capsys replaces stderr
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _file: True)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_a_bar(capsys):
    with messages.shown(Verbosity()), Counter("iterations of x", unit="iteration") as counter:
        for done in (1, 2, 5):
            counter(done, 20)
        assert (counter.meter.n, counter.meter.total) == (5, 20)
    shown = capsys.readouterr().err
    assert "iterations of x" in shown and "5/20" in shown and shown.endswith("\n")


@pytest.mark.usefixtures("terminal")
def test_a_bar_ends_when_the_work_fails(capsys):
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        messages.shown(Verbosity()),
        Counter("patching") as counter,
    ):
        counter(3, 4)
        raise RuntimeError("on purpose")
    assert counter.meter.disable and "3/4" in capsys.readouterr().err  # tqdm disables a closed bar


@pytest.mark.usefixtures("terminal")
def test_work_that_never_begins_shows_nothing(capsys):
    with messages.shown(Verbosity()), Counter("nothing"):
        pass
    assert capsys.readouterr().err == ""


def test_a_file_gets_one_line_a_minute(clock, capsys):
    with messages.shown(Verbosity()), Counter("patching") as counter:
        for done in range(1, 31):
            clock[0] = 10.0 * done
            counter(done, 60)
    lines = [line.split(" [")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == [f"patching:  {share} {done}/60" for share, done in SHOWN]


@pytest.mark.parametrize("tty", [True, False])
def test_work_without_a_known_total_is_counted_and_ends_with_it(tty, clock, capsys, monkeypatch):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _file: tty)
    with messages.shown(Verbosity()), Counter("map", unit="cell") as counter:
        for done in (7, 19, 21):
            counter(done, None)
            clock[0] += 100.0
            assert (counter.meter.n, counter.meter.total) == (done, None)
        counter(25, 25)
    shown = capsys.readouterr().err
    assert "25/25" in shown and "/19" not in shown
    assert tty or [line.split(" [")[0] for line in shown.splitlines()[:-1]] == [
        "map: 19 cell",
        "map: 21 cell",
    ]


@pytest.mark.parametrize("tty", [True, False])
def test_work_without_a_known_total_says_how_much_there_can_be(tty, clock, capsys, monkeypatch):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _file: tty)
    with messages.shown(Verbosity()), Counter("map", unit="cell", most=65536) as counter:
        for done in (536, 1036):
            counter(done, None)
            clock[0] += 100.0
        counter(2000, 2000)
    shown = capsys.readouterr().err
    # 500 cells in 100 seconds; what was finished before the clock started does not count for the pace.
    assert "map: 1036 cells of at most 65,536 [01:40<3:35:00 at most,  5.00 cell/s]" in shown or tty
    assert "map: 536 cells of at most 65,536 [00:00<? at most, ? cell/s]" in shown or not tty
    assert "2000/2000" in shown and "of at most" not in shown.splitlines()[-1].rpartition("\r")[2]


def test_the_pace_of_resumed_work_is_that_of_this_process(clock, capsys):
    with messages.shown(Verbosity()), Counter("patching", unit="cell") as counter:
        for done in (900, 910):
            counter(done, 1000)
            clock[0] += 100.0
    assert "910/1000 [01:40<15:00, 10.00s/ cell]" in capsys.readouterr().err


@pytest.mark.parametrize("tty", [True, False])
def test_quiet_shows_no_progress(tty, clock, capsys, monkeypatch):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _file: tty)
    with messages.shown(Verbosity(quiet=True)), Counter("patching") as counter:
        for done in range(1, 5):
            clock[0] = 100.0 * done
            counter(done, 4)
    assert capsys.readouterr().err == "" and logging.getLogger("denoscope").level == logging.NOTSET
