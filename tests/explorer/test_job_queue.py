"""The queue of jobs: their order, cancelling, failures and its bound."""

import queue as queues
import threading

import pytest

from denoscope.explorer.job_queue import DONE, Job, JobQueue
from denoscope.foundation.errors import UserError


@pytest.fixture
def queue():
    """A queue whose thread waits in its first piece until `gate` is set, so that jobs can be put behind it."""
    made = JobQueue(20)
    made.gate, begun = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert made.gate.wait(30)
        yield None

    made.submit([Job(0, wait, lambda _: None)])
    assert begun.wait(30)
    yield made
    made.gate.set()
    made.stop()


def job(rank, name, reports, pieces=2):
    return Job(rank, lambda: iter([f"{name}{k}" for k in range(pieces)]), reports.put)


def drained(reports, count):
    """The results of jobs until `count` of them are done."""
    found = []
    while count:
        found.append(reports.get(timeout=30))
        count -= found[-1] is DONE
    return [item for item in found if item is not DONE]


def test_low_ranks_come_first_then_the_newest_batch_in_its_own_order(queue):
    reports = queues.Queue()
    queue.submit([job(2, "fine", reports), job(1, "old", reports), job(1, "older", reports)])
    queue.submit([job(1, "new", reports), job(1, "newer", reports)])
    queue.submit([job(0, "click", reports)])
    queue.gate.set()
    assert drained(reports, 6) == [
        "click0", "click1", "new0", "new1", "newer0", "newer1", "old0", "old1", "older0", "older1", "fine0", "fine1",
    ]  # fmt: skip


def test_a_cancelled_job_reports_nothing_more_and_is_closed(queue):
    reports, closed = queues.Queue(), threading.Event()

    def work():
        try:
            yield from range(1000)
        finally:
            closed.set()

    cancelled = Job(1, work, lambda result: (reports.put(result), queue.cancel([cancelled])))
    queue.submit([cancelled, job(1, "next", reports, pieces=1)])
    queue.gate.set()
    assert [reports.get(timeout=30) for _ in range(3)] == [0, "next0", DONE]
    assert closed.wait(30) and not len(queue)


def test_a_failure_is_reported_and_the_queue_goes_on(queue):
    reports = queues.Queue()

    def fails():
        yield "begun"
        raise ZeroDivisionError("on purpose")

    queue.submit([Job(1, fails, reports.put), job(1, "next", reports, pieces=1)])
    queue.gate.set()
    begun, error, *rest = (reports.get(timeout=30) for _ in range(4))
    assert begun == "begun" and isinstance(error, ZeroDivisionError) and rest == ["next0", DONE]


def test_a_full_queue_refuses_a_batch_with_its_bound(queue):
    reports = queues.Queue()
    jobs = [job(1, str(k), reports) for k in range(19)]
    queue.submit(jobs)
    with pytest.raises(UserError, match="20"):
        queue.submit([job(1, "one more", reports)])
    queue.cancel(jobs)
    queue.submit([job(1, "fits", reports, pieces=1)])
    queue.gate.set()
    assert reports.get(timeout=30) == "fits0"
