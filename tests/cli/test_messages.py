"""-v, -q and --threads on every command."""

import json
import logging

import numpy as np
import pytest
import torch

from denoscope.cli import command, registry
from denoscope.cli.verb import Verb
from denoscope.foundation.errors import UnfinishedError
from denoscope.foundation.threads import threads_set_to

FIXED = ("layers", "image", "plot", "compare", "verify store", "status")
"""Commands that compute nothing whose bits depend on threads, or that take the number from the recording."""
COMPUTING = [name for name in registry.VERBS if name not in FIXED and not name.startswith("noise ")]


@pytest.fixture
def talking(monkeypatch):
    """A command that logs one message of each level."""

    def run(_settings, _own):
        logger = logging.getLogger("denoscope.anything")
        logger.debug("a detail")
        logger.info("a message")
        logger.warning("a caveat")

    monkeypatch.setattr(registry, "verb", lambda _name: Verb(run, "Log.", {"system": "threads"}))


@pytest.mark.usefixtures("talking")
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("record", "a message\nwarning: a caveat\n"),
        ("record -v", "a detail\na message\nwarning: a caveat\n"),
        ("-v record", "a detail\na message\nwarning: a caveat\n"),
        ("record --verbose", "a detail\na message\nwarning: a caveat\n"),
        ("record -q", "warning: a caveat\n"),
        ("-q record", "warning: a caveat\n"),
        ("record --quiet", "warning: a caveat\n"),
    ],
)
def test_messages_are_shown_by_level(capsys, words, shown):
    command.main(words.split())
    assert capsys.readouterr() == ("", shown)


@pytest.mark.usefixtures("talking")
def test_messages_reach_other_handlers_and_the_own_one_is_removed(caplog):
    with caplog.at_level(logging.INFO, "denoscope"):
        command.main(["record"])
    assert [record.message for record in caplog.records] == ["a message", "a caveat"]
    logger = logging.getLogger("denoscope")
    assert not logger.handlers


@pytest.mark.usefixtures("talking")
def test_verbose_and_quiet_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["record", "-v", "-q"])
    assert capsys.readouterr().err == "error: --verbose and --quiet are both given; leave one out\n"


@pytest.mark.parametrize("name", registry.VERBS)
def test_each_command_has_the_flags_of_its_kind(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main([*name.split(), "--help"])
    text = capsys.readouterr().out
    assert "-v, --verbose" in text and "-q, --quiet" in text
    assert ("--threads" in text) == (name in COMPUTING)


def test_work_that_remains_unfinished_is_listed_and_ends_with_exit_code_3(monkeypatch, capsys):
    parts = {f"unit {number}": f"ValueError: {number} is wrong" for number in range(25)}

    def run(_settings, _own):
        raise UnfinishedError("25 units were set aside", parts)

    monkeypatch.setattr(registry, "verb", lambda _name: Verb(run, "Fail.", {"system": "threads"}))
    with pytest.raises(SystemExit, match="3"):
        command.main(["record"])
    first, *listed, last = capsys.readouterr().err.splitlines()
    assert first == "error: 25 units were set aside" and last == "  and 5 more"
    assert listed == [f"  {name}: {error}" for name, error in list(parts.items())[:20]]


def test_workers_compute_with_one_thread_unless_told_otherwise(monkeypatch):
    counted = []

    def run(_settings, _own):
        counted.append(torch.get_num_threads())

    verb = Verb(run, "Count.", {"system": "threads cluster"})
    monkeypatch.setattr(registry, "verb", lambda _name: verb)
    with threads_set_to(3):
        for words in ("record", "record --cluster local:2", "record --cluster local:2 --threads 2"):
            command.main(words.split())
    assert counted == [3, 1, 2]


def test_threads_hold_while_the_command_runs(monkeypatch):
    from threadpoolctl import threadpool_info

    seen = []

    def run(_settings, _own):
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        seen.append((torch.get_num_threads(), blas))

    monkeypatch.setattr(registry, "verb", lambda _name: Verb(run, "Count.", {"system": "threads"}))
    before = torch.get_num_threads()
    command.main(["record", "--threads", str(before + 1)])
    command.main(["record"])
    assert [count for count, _ in seen] == [before + 1, before] and seen[0][1] == {before + 1}


def test_threads_are_stored_with_what_arrays_give(tmp_path):
    torch.save(torch.from_numpy(np.indices((40, 40)).sum(0) // 40), "plane.pt")
    for count in (1, 2):
        command.main(f"dynamics basins plane.pt --threads {count} --overwrite -q".split())
        assert json.loads((tmp_path / "basins.json").read_text())["computed_from"]["threads"] == count
