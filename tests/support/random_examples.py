"""Properties tried on random examples, which are the same in every run."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy


def try_examples(examples: SearchStrategy[Any], count: int, check: Callable[[Any], None]) -> None:
    """Call a check with `count` examples. None is stored, and none has a deadline, because tests depend on no time."""
    chosen = settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(examples)(check))()
