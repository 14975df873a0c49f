"""The CPU threads of PyTorch, NumPy and SciPy: how many there are, and how they wait for each other."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from denoscope.foundation.validation import parse_integer

SPIN_COUNT = "10000"
"""How often a waiting thread checks before it sleeps: without checks, network calls with few rows take twice as long."""
WAITING = frozenset({"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
"""The environment variables that say how OpenMP threads wait."""
MOST_THREADS = 1024
"""More than any machine has cores for; PyTorch itself crashes when it cannot start the threads that it is told to."""


@contextmanager
def threads_set_to(count: int) -> Iterator[int]:
    """Compute with this number of threads while the block runs."""
    import torch

    parse_integer(count, "threads", minimum=1, maximum=MOST_THREADS)
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _libraries(len(sys.modules)).limit(limits=count, user_api="blas"):
            yield count
    finally:
        torch.set_num_threads(former)


@functools.lru_cache(maxsize=1)
def _libraries(_modules: int) -> Any:
    """The libraries with threads of their own, which are searched again once a module was imported: that takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def limit_spinning() -> None:
    """Limit how long OpenMP threads spin, unless the user has set how they wait.

    OpenMP reads the environment when PyTorch loads it; a later setting would reach child processes alone.
    """
    if "torch" not in sys.modules and not WAITING & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
