"""New schedulers of diffusers, as copies: some take half a second to be made."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest


def make(name: str, **options: Any) -> Any:
    """A scheduler by its class, unless this diffusers lacks it or what it needs."""
    plain = all(isinstance(value, str | int | float) for value in options.values())
    try:
        return copy.deepcopy(_once(name, **options)) if plain else _made(name, **options)
    except (AttributeError, ImportError) as error:
        pytest.skip(str(error).strip().splitlines()[0])


def _made(name: str, **options: Any) -> Any:
    from diffusers import schedulers

    return getattr(schedulers, name)(**options)


_once = functools.cache(_made)
