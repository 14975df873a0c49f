"""Tensors arrive complete and in order, a limited number is in flight, and errors are raised."""

import threading

import pytest
import torch

from denoscope.recording.runs.device_transfer import SLOTS, DeviceTransfer

CPU = torch.device("cpu")


@pytest.mark.parametrize("threaded", [False, True])
def test_tensors_arrive_in_the_order_in_which_they_were_sent(threaded):
    arrived = []
    with DeviceTransfer(CPU, threaded=threaded) as transfer:
        for k in range(5 * SLOTS):
            transfer.send(torch.full((3,), float(k)), arrived.append)
    assert [tensor.tolist() for tensor in arrived] == [[float(k)] * 3 for k in range(5 * SLOTS)]


def test_on_the_cpu_tensors_are_delivered_at_once_in_the_same_thread():
    threads = []
    with DeviceTransfer(CPU) as transfer:
        transfer.send(torch.zeros(1), lambda _: threads.append(threading.current_thread()))
        assert threads == [threading.current_thread()]


def test_a_slow_delivery_makes_the_sender_wait():
    delivering, proceed, arrived = threading.Event(), threading.Event(), []

    def deliver(tensor: torch.Tensor) -> None:
        delivering.set()
        proceed.wait()
        arrived.append(tensor.item())

    with DeviceTransfer(CPU, threaded=True) as transfer:
        transfer.send(torch.tensor(0.0), deliver)
        delivering.wait()
        for k in range(SLOTS):
            transfer.send(torch.tensor(float(k + 1)), deliver)
        # One is being delivered and SLOTS wait, so that the next one would block.
        assert transfer.is_full and not arrived
        proceed.set()
        transfer.send(torch.tensor(float(SLOTS + 1)), deliver)
    assert arrived == list(range(SLOTS + 2))


@pytest.mark.parametrize("threaded", [False, True])
def test_an_error_in_a_delivery_reaches_the_sender_and_stops_the_rest(threaded):
    arrived = []

    def deliver(tensor: torch.Tensor) -> None:
        if tensor.item() == 3:
            raise OSError("no room")
        arrived.append(tensor.item())

    with pytest.raises(OSError, match="no room"), DeviceTransfer(CPU, threaded=threaded) as transfer:
        for k in range(4 * SLOTS):
            transfer.send(torch.tensor(float(k)), deliver)
    assert arrived == [0, 1, 2]


def test_an_error_in_the_block_ends_the_thread_and_is_raised():
    with pytest.raises(KeyboardInterrupt), DeviceTransfer(CPU, threaded=True) as transfer:
        transfer.send(torch.zeros(1), lambda _: None)
        raise KeyboardInterrupt
    assert "device transfer" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_from_cuda_are_those_at_the_time_of_sending():
    arrived, device = [], torch.device("cuda")
    with DeviceTransfer(device) as transfer:
        for k in range(4 * SLOTS):
            values = torch.full((1 << 20,), float(k), device=device)
            transfer.send(values, arrived.append)
            del values  # its memory is reused for the next one
    assert [tensor.unique().tolist() for tensor in arrived] == [[float(k)] for k in range(4 * SLOTS)]
