"""What a measurement gives: numbers with their interval, what they were computed from, and what to beware of."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


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


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
