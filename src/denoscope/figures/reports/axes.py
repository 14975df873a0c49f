"""The dimensions of the arrays of a result, and the names along them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from denoscope.dynamics.stored_result import kind_of

SAMPLE = "sample"
COUNTED_FROM_ONE = ("exponent", "eigenvector", "iterations apart")
"""Dimensions that figures count from 1, too."""


@dataclass(frozen=True)
class Axes:
    """The dimensions of arrays by name, where they are known, and which arrays are coordinates.

    `names` are those of the rows along a dimension.
    """

    dims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    coords: frozenset[str] = frozenset()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, name: str) -> str:
        """The first dimension of an array; arrays whose dimensions are unknown share one without a name."""
        return self.dims[name][0] if name in self.dims else ""

    def rows(self, axis: str, count: int) -> np.ndarray:
        """The names of the rows along a dimension of some length, or their numbers."""
        if len(self.names.get(axis, ())) == count:
            return np.asarray(self.names[axis], dtype=str)
        return np.arange(count) + (axis in COUNTED_FROM_ONE)

    def within(self, entries: Mapping[str, Any]) -> Axes:
        """The dimensions of a part of a result, whose kind says what its rows are."""
        kind = kind_of(entries)
        if kind is None:
            return self
        dims = {name: (row,) for name, row in kind.rows.items()}
        return replace(
            self, dims={**dims, **self.dims}, coords=self.coords | set(dims).intersection(kind.rows.values())
        )

    def named(self, samples: Any) -> Axes:
        """The same dimensions, with the names of the samples, if they are some and have none yet."""
        texts = isinstance(samples, (list, tuple)) and all(isinstance(name, str) for name in samples)
        return replace(self, names={SAMPLE: samples, **self.names}) if texts and samples else self
