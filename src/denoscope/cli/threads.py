"""The number of threads with which PyTorch computes on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited(count: int | None) -> Iterator[None]:
    """Let PyTorch use this many threads while the block runs; without a number, its own default."""
    if count is None:
        yield
        return
    import torch

    earlier = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)
