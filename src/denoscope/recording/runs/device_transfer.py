"""Tensors on their way from the device to the host, in order, while the device computes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

import torch

SLOTS = 8
"""How many tensors may be in transfer: enough to bridge a slow write, few enough to keep memory flat."""

Deliver = Callable[[torch.Tensor], None]


class DeviceTransfer:
    """A context that copies tensors to the host and delivers them one after the other, in the order they were sent.

    Tensors of a CUDA device are copied on a side stream into pinned memory, which PyTorch reuses, and delivered by a
    thread; `send` waits while SLOTS tensors are in transfer. On the CPU, `send` delivers at once: there is no device
    to keep busy, and a thread would only compete with the network for cores.

    An exception in a delivery is raised by the next `send`, or at the end of the block.
    """

    def __init__(self, device: torch.device, *, threaded: bool | None = None):
        self.device = device
        self.threaded = device.type == "cuda" if threaded is None else threaded
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._waiting: queue.Queue[tuple[torch.Tensor, torch.cuda.Event | None, Deliver] | None]
        self._waiting = queue.Queue(SLOTS)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._deliver_all, name="device transfer", daemon=True)

    def __enter__(self) -> DeviceTransfer:
        if self.threaded:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.threaded:
            if kind is not None:
                self._error = self._error or error  # tensors that are still in transfer are dropped
            self._waiting.put(None)
            self._thread.join()
        if kind is None:
            self._raise_error()

    def send(self, tensor: torch.Tensor, deliver: Deliver) -> None:
        """Call `deliver` with the tensor on the host."""
        if not self.threaded:
            deliver(tensor.cpu())
            return
        self._raise_error()
        self._waiting.put((*self._copied(tensor), deliver))

    @property
    def is_full(self) -> bool:
        """Whether `send` would wait."""
        return self._waiting.full()

    def _copied(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """The copy of the tensor on the host, and the event after which it holds the values."""
        if self._stream is None:
            return tensor, None
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            host.copy_(tensor, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        tensor.record_stream(self._stream)  # its memory must not be reused before the copy is done
        return host, arrived

    def _deliver_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            tensor, arrived, deliver = item
            if self._error is None:
                try:
                    if arrived is not None:
                        arrived.synchronize()
                    deliver(tensor)
                except BaseException as error:
                    self._error = error
            del item, tensor

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
