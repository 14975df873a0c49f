"""Tensors arrive whole, in order, bounded in number; an error on the way is not lost."""

import threading
import time

import pytest
import torch

from denoscope.recording.device_transfer import SLOTS, Outbox

CPU = torch.device("cpu")


@pytest.mark.parametrize("threaded", [False, True])
def test_tensors_arrive_in_the_order_in_which_they_were_sent(threaded):
    arrived = []
    with Outbox(CPU, threaded=threaded) as outbox:
        for k in range(5 * SLOTS):
            outbox.send(torch.full((3,), float(k)), arrived.append)
    assert [tensor.tolist() for tensor in arrived] == [[float(k)] * 3 for k in range(5 * SLOTS)]


def test_without_a_device_everything_happens_at_once_in_the_same_thread():
    threads = []
    with Outbox(CPU) as outbox:
        outbox.send(torch.zeros(1), lambda _: threads.append(threading.current_thread()))
        assert threads == [threading.current_thread()]


def test_a_slow_delivery_holds_the_sender_back():
    gate, sent = threading.Event(), []
    with Outbox(CPU, threaded=True) as outbox:

        def send_all() -> None:
            for k in range(3 * SLOTS):
                outbox.send(torch.zeros(1), lambda _: gate.wait())
                sent.append(k)

        sender = threading.Thread(target=send_all)
        sender.start()
        deadline = time.monotonic() + 10
        while len(sent) < SLOTS + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        # SLOTS wait in the queue and one is being delivered.
        assert len(sent) == SLOTS + 1
        gate.set()
        sender.join()
    assert len(sent) == 3 * SLOTS


@pytest.mark.parametrize("threaded", [False, True])
def test_what_a_delivery_raises_reaches_the_sender_and_stops_the_rest(threaded):
    arrived = []

    def deliver(tensor: torch.Tensor) -> None:
        if tensor.item() == 3:
            raise OSError("no room")
        arrived.append(tensor.item())

    with pytest.raises(OSError, match="no room"), Outbox(CPU, threaded=threaded) as outbox:
        for k in range(4 * SLOTS):
            outbox.send(torch.tensor(float(k)), deliver)
    assert arrived == [0, 1, 2]


def test_an_error_of_the_sender_ends_the_thread_and_stays_the_error():
    started = Outbox(CPU, threaded=True)
    with pytest.raises(KeyboardInterrupt), started as outbox:
        outbox.send(torch.zeros(1), lambda _: None)
        raise KeyboardInterrupt
    assert not started.thread.is_alive()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_from_cuda_the_values_are_those_of_the_moment_of_sending():
    arrived, device = [], torch.device("cuda")
    with Outbox(device) as outbox:
        for k in range(4 * SLOTS):
            values = torch.full((1 << 20,), float(k), device=device)
            outbox.send(values, arrived.append)
            del values  # its memory is taken for the next one
    assert [tensor.unique().tolist() for tensor in arrived] == [[float(k)] for k in range(4 * SLOTS)]
