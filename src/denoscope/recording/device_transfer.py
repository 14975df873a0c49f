"""Tensors on their way from the device to the host, in order, while the device goes on computing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

import torch

SLOTS = 8
"""How many tensors may be under way: enough to bridge a slow write, few enough to keep memory flat."""

Deliver = Callable[[torch.Tensor], None]


class Outbox:
    """Hands tensors over on the host, one after the other, as they were sent.

    From CUDA, each is copied on a side stream into pinned memory, of which PyTorch keeps what it once made,
    and delivered by a thread; `send` waits while SLOTS tensors are under way. On the CPU there is no device
    to keep busy, and a thread would only contend with the network for cores: there `send` delivers at once.

    What a delivery raises is raised by the next `send`, or at the end of the block.
    """

    def __init__(self, device: torch.device, *, threaded: bool | None = None):
        self.device = device
        self.threaded = device.type == "cuda" if threaded is None else threaded
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.under_way: queue.Queue[tuple[torch.Tensor, torch.cuda.Event | None, Deliver] | None]
        self.under_way = queue.Queue(SLOTS)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._deliver_all, name="outbox", daemon=True)

    def __enter__(self) -> Outbox:
        if self.threaded:
            self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.threaded:
            if kind is not None:
                self.error = self.error or error  # what is still under way need not arrive
            self.under_way.put(None)
            self.thread.join()
        if kind is None:
            self._raise()

    def send(self, tensor: torch.Tensor, deliver: Deliver) -> None:
        """Call `deliver` with the tensor on the host."""
        if not self.threaded:
            deliver(tensor.cpu())
            return
        self._raise()
        self.under_way.put((*self._copied(tensor), deliver))

    def _copied(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """The tensor's copy on the host, and the event after which it holds its values."""
        if self.stream is None:
            return tensor, None
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            host.copy_(tensor, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        tensor.record_stream(self.stream)  # its memory must not be given away before the copy is done
        return host, arrived

    def _deliver_all(self) -> None:
        while (item := self.under_way.get()) is not None:
            tensor, arrived, deliver = item
            if self.error is None:
                try:
                    if arrived is not None:
                        arrived.synchronize()
                    deliver(tensor)
                except BaseException as error:
                    self.error = error
            del item, tensor

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error
