"""Tasks that share calls: which come first, what a call holds, failures, and the end."""

import numpy as np
import torch

from denoscope.basins.shared_calls import shared_calls


def task(name, sizes, log):
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


def numbers(calls):
    return [number for number, _, _ in calls]


def test_rows_that_the_first_tasks_leave_free_go_to_the_next():
    log, answer = [], Answering()
    advances = list(shared_calls([task(1, [3, 2], log), task(2, [6], log), task(3, [1], log)], answer, 4))
    assert answer.calls == [[100, 101, 102, 200], [110, 111, 201, 202], [203, 204, 205, 300]]
    assert advances == [(0, False, None), (0, True, None), (1, True, None), (2, True, None)]
    assert log == [(1, 0), (1, 1), (1, "closed"), (2, 0), (2, "closed"), (3, 0), (3, "closed")]


def test_a_task_starts_when_there_are_rows_for_it():
    started = []

    def tasks():
        for name in (1, 2, 3):
            started.append(name)
            yield task(name, [4], [])

    calls = shared_calls(tasks(), Answering(), 4)
    assert [(next(calls).number, list(started)) for _ in range(3)] == [
        (0, [1]),
        (1, [1, 2]),
        (2, [1, 2, 3]),
    ]
    assert list(calls) == []


def test_tasks_that_ask_nothing_end():
    log = []
    assert numbers(shared_calls([task(1, [], log), task(2, [], log)], Answering(), 4)) == [0, 1]
    assert log == [(1, "closed"), (2, "closed")]
    assert numbers(shared_calls([], Answering(), 4)) == []


def test_a_call_that_fails_fails_within_the_tasks_that_it_was_for():
    log, answer = [], Answering(fails_at=101)
    tasks = [task(1, [3], log), task(2, [4], log), task(3, [2], log)]
    assert list(shared_calls(tasks, answer, 4)) == [(number, True, None) for number in range(3)]
    assert log[:4] == [(1, "on purpose"), (1, "closed"), (2, "on purpose"), (2, "closed")]
    assert log[4:] == [(3, 0), (3, "closed")]


def test_an_error_that_leaves_a_task_ends_that_task_alone():
    log = []

    def fragile():
        yield torch.arange(2)

    def broken():
        raise ZeroDivisionError("at its start")
        yield

    first, second, *others = shared_calls(
        [broken(), fragile(), task(3, [2, 2], log)], Answering(fails_at=1), 2
    )
    assert (first.number, first.ended, str(first.error)) == (0, True, "at its start")
    assert (second.number, second.ended, str(second.error)) == (1, True, "on purpose")
    assert others == [(2, False, None), (2, True, None)]


def test_closing_closes_all_tasks():
    log = []
    calls = shared_calls([task(1, [2, 2], log), task(2, [2, 2], log)], Answering(), 4)
    assert [next(calls).number, next(calls).number] == [0, 1]
    calls.close()
    assert log == [(1, 0), (2, 0), (1, "closed"), (2, "closed")]
