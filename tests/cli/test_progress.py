"""The bar over pieces of work: what it shows, and that it ends with its block."""

import pytest

from denoscope.cli.progress import Counter


def test_a_counter_shows_how_many_of_the_most_there_can_be(capsys):
    with Counter("iterations of x", unit="iteration") as counter:
        for done in (1, 2, 5):
            counter(done, 20)
        bar = counter.bar
        assert (bar.n, bar.total, bar.disable) == (5, 20, False)
    shown = capsys.readouterr().err
    assert "iterations of x" in shown and "5/20" in shown and shown.endswith("\n")
    assert bar.disable  # as tqdm calls a bar that is closed


def test_a_counter_of_work_that_fails_or_never_begins_ends_too(capsys):
    with Counter("nothing"):
        pass
    assert capsys.readouterr().err == ""
    counter = Counter("patching")
    with pytest.raises(RuntimeError, match="on purpose"), counter:
        counter(3, 4)
        raise RuntimeError("on purpose")
    assert counter.bar.disable and "3/4" in capsys.readouterr().err
    counter.close()
    assert capsys.readouterr().err == ""
