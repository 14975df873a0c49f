"""Works that share calls: who comes first, what a call holds, failures, and the end."""

import numpy as np
import pytest
import torch

from denoscope.basins.shared_calls import shared_calls


def work(name, sizes, log):
    """Asks for `sizes` numbers in turn, which begin at 100 × its name; notes the answers."""
    try:
        for turn, size in enumerate(sizes):
            noises = 100 * name + 10 * turn + torch.arange(size)
            answers = yield noises
            assert answers["square"].tolist() == [int(x) ** 2 for x in noises]
            log.append((name, turn))
    except ArithmeticError as error:
        log.append((name, str(error)))
    finally:
        log.append((name, "closed"))


class Answering:
    """Answers with squares, and keeps what was in each call."""

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = [], fails_at

    def __call__(self, noises):
        self.calls.append(noises.tolist())
        if self.fails_at in self.calls[-1]:
            raise ArithmeticError("on purpose")
        return {"square": np.array([int(x) ** 2 for x in noises])}


def test_rows_that_the_first_works_leave_free_go_to_the_next():
    log, answer = [], Answering()
    gone_on = list(shared_calls([work(1, [3, 2], log), work(2, [6], log), work(3, [1], log)], answer, 4))
    assert answer.calls == [[100, 101, 102, 200], [110, 111, 201, 202], [203, 204, 205, 300]]
    assert gone_on == [0, 0, 1, 2]
    assert log == [(1, 0), (1, 1), (1, "closed"), (2, 0), (2, "closed"), (3, 0), (3, "closed")]


def test_works_that_ask_nothing_end():
    log = []
    assert list(shared_calls([work(1, [], log), work(2, [], log)], Answering(), 4)) == [0, 1]
    assert log == [(1, "closed"), (2, "closed")]
    assert list(shared_calls([], Answering(), 4)) == []


def test_a_call_that_fails_fails_within_the_works_that_it_was_for():
    log, answer = [], Answering(fails_at=101)
    works = [work(1, [3], log), work(2, [4], log), work(3, [2], log)]
    assert list(shared_calls(works, answer, 4)) == [0, 1, 2]
    assert log[:4] == [(1, "on purpose"), (1, "closed"), (2, "on purpose"), (2, "closed")]
    assert log[4:] == [(3, 0), (3, "closed")]


def test_an_error_that_a_work_does_not_catch_ends_all():
    log = []

    def fragile():
        yield torch.arange(2)

    with pytest.raises(ArithmeticError, match="on purpose"):
        list(shared_calls([fragile(), work(3, [2], log)], Answering(fails_at=1), 4))
    assert (3, "closed") in log


def test_closing_closes_all_works():
    log = []
    calls = shared_calls([work(1, [2, 2], log), work(2, [2, 2], log)], Answering(), 4)
    assert [next(calls), next(calls)] == [0, 1]
    calls.close()
    assert log == [(1, 0), (2, 0), (1, "closed"), (2, "closed")]
