"""What a measurement gives: numbers with their interval, what they were computed from, and what to beware of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from denoscope.foundation.json_values import as_json

SHOWN = 6
"""How many numbers are shown of an array or a tuple that is longer: those at its ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Common to all results.

    `origin` is what the numbers were computed from: fingerprint, seeds, epsilon, fitting range. `warnings` are lines
    that say where the numbers end to mean anything; a result without any keeps within its limits.
    """

    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # In front of the one that the dataclass would make, with every number of every array.
        cls.__repr__ = Result.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """One line a field, those common to all results last."""
        common = ("origin", "warnings")
        own = [item.name for item in dataclasses.fields(self) if item.name not in common]
        width = max(map(len, [*own, *common])) + 2
        lines = [f"  {name + ':':<{width}}{_shown(getattr(self, name))}" for name in (*own, *common)]
        return "\n".join([f"<{type(self).__name__}>", *lines])

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values: arrays as lists, what is not finite as None."""
        return {item.name: as_json(getattr(self, item.name)) for item in dataclasses.fields(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def _shown(value: Any) -> str:
    """A value in one line: of an array the type, the shape and the numbers at its ends."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        flat = value.reshape(-1)
        return f"{value.dtype} {list(value.shape)}  {_ends([flat[k].item() for k in _places(len(flat))], len(flat))}"
    if isinstance(value, Mapping):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, (tuple, list)):
        return f"({_ends([value[k] for k in _places(len(value))], len(value), ', ')})" if value else "none"
    if dataclasses.is_dataclass(value):
        return f"<{type(value).__name__}>"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _places(length: int) -> Sequence[int]:
    """Of the entries that are shown."""
    half = SHOWN // 2
    return range(length) if length <= SHOWN else (*range(half), *range(length - half, length))


def _ends(entries: Sequence[Any], length: int, between: str = " ") -> str:
    shown = [_shown(entry) for entry in entries]
    return between.join(shown if length <= SHOWN else [*shown[: SHOWN // 2], "…", *shown[SHOWN // 2 :]])


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Result):
    """One number and the interval that holds it, of the given confidence; None where there is none to give."""

    value: float
    interval: tuple[float, float] | None = None
    confidence: float = 0.95

    def __float__(self) -> float:
        return self.value
