"""What a measurement gives: numbers with their interval, what they were computed from, and what to beware of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from denoscope.plain import plain


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Common to all results.

    `origin` is what the numbers were computed from: fingerprint, seeds, epsilon, fitting range. `warnings` are lines
    that say where the numbers end to mean anything; a result without any keeps within its limits.
    """

    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values: arrays as lists, what is not finite as None."""
        return {item.name: plain(getattr(self, item.name)) for item in dataclasses.fields(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Result):
    """One number and the interval that holds it, of the given confidence; None where there is none to give."""

    value: float
    interval: tuple[float, float] | None = None
    confidence: float = 0.95

    def __float__(self) -> float:
        return self.value
