"""Results of measures: numbers with their intervals, their origin, and warnings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from denoscope.foundation import html_repr
from denoscope.foundation.json_values import as_json
from denoscope.foundation.spelling import counted

LINE = 110
"""The longest repr in characters; fields that do not fit are left out."""
SHOWN_NUMBERS = 4
"""The most numbers of an array that are shown; larger arrays are shown by their shape."""
COMMON = ("origin", "warnings")
KIND = "result"
"""The key under which `to_dict` names the kind of a result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The base of all results.

    Attributes:
        origin: everything the numbers were computed from, such as fingerprint, seeds and ranges of fits.
        warnings: one line for each reason why numbers may not mean what they seem to mean.
    """

    pictured: ClassVar[str] = ""
    """The field of which notebooks show a picture; by default the first series or matrix."""
    unstored: ClassVar[tuple[str, ...]] = ()
    """The fields that `to_dict` leaves out, because they are large and stored elsewhere."""
    rows: ClassVar[Mapping[str, str]] = {}
    """What the rows of arrays are, by field, such as "sample"; a field of this name holds the names or numbers of the rows."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The dataclass decorator would add a repr with all numbers of all arrays.
        cls.__repr__ = Result.__repr__  # type: ignore[method-assign]

    def to_dict(self) -> dict[str, Any]:
        """The kind of the result and all fields as JSON values: arrays as lists, numbers that are not finite as None."""
        stored = (item.name for item in dataclasses.fields(self) if item.name not in self.unstored)
        return {KIND: type(self).__name__, **{name: as_json(getattr(self, name)) for name in stored}}

    def to_json(self) -> str:
        """All fields as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def __repr__(self) -> str:
        """One line: the name, the fields in order as far as they fit, and the number of warnings."""
        count = len(self.warnings)
        end = f"; {counted(count, 'warning')}>" if count else ">"
        line = f"<{type(self).__name__}"
        for number, (name, text) in enumerate(self._summary().items()):
            entry = f"{', ' if number else ' '}{text if name == 'value' else f'{name}={text}'}"
            if len(line + entry + ", …" + end) > LINE:
                return f"{line}{',' if number else ''} …{end}"
            line += entry
        return line + end

    def _repr_html_(self) -> str:
        """A table of the fields, the warnings and the origin, with a picture of the first series or matrix."""
        rows: dict[str, object] = dict(self._summary())
        rows |= {f"warning {number}": line for number, line in enumerate(self.warnings, 1)}
        scalars = {name: _summarize(value) for name, value in self.origin.items()}
        rows["origin"] = ", ".join(f"{name}={text}" for name, text in scalars.items() if text) or "—"
        return html_repr.table(type(self).__name__, rows, picture=self._picture())

    def _specific_fields(self) -> Iterator[tuple[str, Any]]:
        """The names and values of the fields that are not common to all results, the value of an estimate first."""
        names = [item.name for item in dataclasses.fields(self) if item.name not in COMMON]
        for name in sorted(names, key=lambda name: name not in ("value", "interval")):
            yield name, getattr(self, name)

    def _summary(self) -> dict[str, str]:
        """A short text for each specific field that has one."""
        texts = {name: _summarize(value) for name, value in self._specific_fields()}
        return {name: text for name, text in texts.items() if text}

    def _picture(self) -> str:
        """A sparkline of a series or of the first of a few, or a thumbnail of a matrix; nothing if there is none."""
        for name, value in self._specific_fields():
            if not isinstance(value, np.ndarray) or self.pictured not in ("", name):
                continue
            if value.ndim not in (1, 2) or len(value) <= SHOWN_NUMBERS or value.dtype.kind not in "biuf":
                continue
            columns = value.reshape(len(value), -1)
            return (
                html_repr.sparkline(columns[:, 0])
                if columns.shape[1] <= SHOWN_NUMBERS
                else html_repr.thumbnail(value)
            )
        return ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Result):
    """A number with its interval.

    Attributes:
        interval: (low, high) at the level `confidence`, or None if it is unknown.
    """

    value: float
    interval: tuple[float, float] | None = None
    confidence: float = 0.95

    def __float__(self) -> float:
        return self.value


def _summarize(value: Any) -> str:
    """A number, a text, a few numbers, or the shape of an array; empty for mappings, dataclasses and long sequences."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        if value.ndim <= 1 and math.prod(value.shape) <= SHOWN_NUMBERS:
            return _list(value.reshape(-1).tolist())
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        scalars = all(isinstance(entry, (bool, int, float, str)) for entry in value)
        return _list(value) if scalars and len(value) <= SHOWN_NUMBERS else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, (bool, int, str, np.generic)) or value is None else ""


def _list(values: Sequence[Any]) -> str:
    return f"[{', '.join(_summarize(value) for value in values)}]"
