"""The number of CPU threads that PyTorch and the linear algebra of NumPy and SciPy compute with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads_set_to(count: int) -> Iterator[int]:
    """Compute with this number of threads while the block runs."""
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield count
    finally:
        torch.set_num_threads(former)
