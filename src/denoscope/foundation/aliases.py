"""Second names of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from denoscope.foundation.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def accepts_num_steps(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which also accepts its keyword argument `steps` as `num_steps`, the name of the command's flag.

    >>> @accepts_num_steps
    ... def run(*, steps=50):
    ...     return steps
    >>> run(num_steps=20)
    20

    Raises: UserError if a call gives both.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "num_steps" in kwargs:
            if "steps" in kwargs:
                raise UserError(
                    f"steps={kwargs['steps']!r} and num_steps={kwargs['num_steps']!r} are two names of one "
                    "argument; give one of them"
                )
            kwargs["steps"] = kwargs.pop("num_steps")
        return function(*args, **kwargs)

    return call
