"""What a report is about: recordings, and results of measures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray

from denoscope.dynamics.result import Result
from denoscope.figures.reports.axes import Axes
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import as_json
from denoscope.foundation.reading import json_files, result_files
from denoscope.foundation.reading.regular_files import why_no_file
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.recording import opening
from denoscope.recording.recording import Recording

ALLOWED = "recordings, and results: .json and .npz files that denoscope dynamics, basins and patch write"
ENDINGS = (".json", ".npz")
"""Endings of files that hold results."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A result of a measure.

    `content` are its entries by name, JSON values and arrays; `origin` says what they were computed from, and `axes`
    along which dimensions their arrays are. `result` is the result or the dataset itself, unless the file is JSON. A result in
    memory has no `file`.
    """

    name: str
    content: Mapping[str, Any]
    origin: Mapping[str, Any]
    axes: Axes = Axes()
    file: Path | None = None
    result: Any = None


Source = Recording | Measured


def parse_source(given: Any) -> Source:
    """What a path or a value in memory stands for.

    Raises: UserError if it is neither a recording nor a result, or cannot be read.
    """
    if isinstance(given, Recording):
        return given
    if isinstance(given, Result):
        content = given.to_dict()
        return Measured(type(given).__name__, content, _origin(content), result=given)
    if isinstance(given, xarray.Dataset):
        return _of_dataset("Dataset", given)
    if not isinstance(given, (str, os.PathLike)):
        raise UserError(
            f"{spelled('sources')} holds {describe(given)}; allowed: {ALLOWED}, or these in memory"
        )
    path = Path(given)
    if path.suffix not in ENDINGS and os.path.isfile(path):
        raise UserError(f"{path} is neither a recording nor a result; allowed: {ALLOWED}")
    if is_url(given) or path.suffix not in ENDINGS or os.path.isdir(path):
        return opening.open(given)
    if problem := why_no_file(path):
        raise UserError(f"cannot read {path}: {problem}; allowed: {ALLOWED}")
    if path.suffix == ".npz":
        return _of_dataset(path.name, result_files.read(path, advice=f"allowed: {ALLOWED}"), file=path)
    content = json_files.read(path, dict[str, Any])
    if not _is_result(content):
        raise UserError(f"{path} holds no result of a measure; allowed: {ALLOWED}")
    return Measured(path.name, content, _origin(content), Axes().named(content.get("samples")), path)


def _of_dataset(name: str, data: xarray.Dataset, *, file: Path | None = None) -> Measured:
    """The result that a dataset holds."""
    attrs = as_json(data.attrs)
    content = {str(key): values.to_numpy() for key, values in data.variables.items()}
    dims = {str(key): tuple(map(str, values.dims)) for key, values in data.variables.items()}
    warnings = {"warnings": attrs.pop("warnings", [])}
    axes = Axes(dims, frozenset(map(str, data.coords)))
    return Measured(name, warnings | content, attrs, axes, file, data)


def _is_result(content: Mapping[str, Any]) -> bool:
    """Whether JSON is that of a measure: it, or each of its entries, says what it was computed from."""
    if "computed_from" in content or {"origin", "warnings"} <= content.keys():
        return True
    return bool(content) and all(
        isinstance(entry, Mapping) and {"origin", "warnings"} <= entry.keys() for entry in content.values()
    )


def _origin(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a result was computed from; the results of several noises share it."""
    found: dict[str, Any] = {}
    for name in ("computed_from", "origin"):
        if isinstance(content.get(name), Mapping):
            found |= content[name]
    return found or next((_origin(part) for part in content.values() if isinstance(part, Mapping)), {})
