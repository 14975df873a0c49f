"""Deferred Ctrl-C: the first is recorded, the second raises."""

import os
import signal
import threading

import pytest

from denoscope.foundation import interrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def restored():
    """The handler of SIGINT, put back at the end."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_is_recorded_and_the_second_raises():
    with interrupt.deferred() as stop:
        assert not stop.requested
        press()
        assert stop.requested
        with pytest.raises(KeyboardInterrupt, match="resume=True"):
            press()


@pytest.mark.usefixtures("restored")
def test_the_second_goes_to_the_handler_before():
    seen = []
    signal.signal(signal.SIGINT, lambda signum, _frame: seen.append(signum))
    with interrupt.deferred() as stop:
        press()
        assert stop.requested and not seen
        press()
        assert seen == [signal.SIGINT]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_the_second_raises_where_there_was_no_handler(before):
    signal.signal(signal.SIGINT, before)
    with interrupt.deferred():
        press()
        with pytest.raises(KeyboardInterrupt, match="resume=True"):
            press()


def test_the_previous_handler_returns_even_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupt.deferred():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with interrupt.deferred() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
