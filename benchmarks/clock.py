"""Times of works that take turns, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """How long a work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(works: Sequence[Work], repeats: int) -> list[float]:
    """The median time of each over rounds in which each is done once."""
    rounds = [[seconds(work) for work in works] for _ in range(repeats)]
    return [median(column) for column in zip(*rounds, strict=True)]
