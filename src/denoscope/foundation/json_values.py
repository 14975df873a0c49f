"""Conversion to JSON values, and the differences between nested dictionaries."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

SHA256 = re.compile("[0-9a-f]{64}")


def as_json(value: Any) -> Any:
    """The value as JSON would return it: arrays and tuples become lists, NaN and ±Inf become None.

    Dataclasses become dictionaries, and values without a JSON form become strings.

    >>> import numpy as np
    >>> as_json({"a": np.array([1.0, np.nan]), 2: (3, "b")})
    {'a': [1.0, None], '2': [3, 'b']}
    """
    if hasattr(value, "tolist") and not isinstance(value, type):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def flat(identity: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a nested dictionary, each with the names that lead to it."""
    for name, value in identity.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}, ")
        else:
            yield f"{prefix}{name}", as_json(value)


def differences(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], shown: Callable[[str], str] = str
) -> list[str]:
    """The entries in which two fingerprints differ, as "name: stored → wanted"; hashes come last.

    Args:
        shown: how the caller knows a name.
    """
    names = sorted(dict.fromkeys([*stored, *wanted]), key=lambda name: name.endswith("_sha256"))
    return [
        f"{shown(name)}: {_shortened(stored.get(name))} → {_shortened(wanted.get(name))}"
        for name in names
        if stored.get(name) != wanted.get(name)
    ]


def _shortened(value: Any) -> str:
    text = str(value)
    if SHA256.fullmatch(text):
        return f"{text[:8]}…"
    return text if len(text) <= 60 else f"{text[:57]}…"
