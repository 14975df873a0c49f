"""Plan files: interventions as JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.validation import describe
from denoscope.foundation.writing.atomic_files import write_output
from denoscope.interventions import operands
from denoscope.interventions.operations import qualified_name
from denoscope.interventions.spec import Intervention, as_interventions

FORMAT, FORMAT_VERSION = "denoscope interventions", 1
_KEYS = ("format", "format_version", "interventions")


@dataclass(frozen=True)
class Plan:
    """The content of a plan file."""

    interventions: list[dict[str, Any]]
    format: str = FORMAT
    format_version: int = FORMAT_VERSION


@arguments_checked
def read_plan(path: str | os.PathLike[str]) -> list[Intervention]:
    """The interventions of a plan file; relative paths of values start from its folder.

    Raises: UserError naming the file and what is wrong in it.
    """
    path = Path(path)
    content = json_files.read(path, dict[str, Any])
    plan = json_files.check(content, Plan, str(path))
    if plan.format_version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {plan.format_version}; this denoscope reads {FORMAT_VERSION}"
        )
    try:
        _check_keys(content, _KEYS)
        return from_json(plan.interventions, path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@arguments_checked
def write_plan(interventions: Iterable[Intervention], path: str | os.PathLike[str]) -> None:
    """Write a plan file; paths of values inside of its folder become relative to it.

    Raises: UserError if a plan cannot hold one of them: a function, or a tensor too large for it.
    """
    path = Path(path)
    items = as_interventions(_listed(interventions))
    plan = [to_json(item, path.parent) for item in items]
    for item, written in zip(items, plan, strict=True):
        if "function" in written:
            raise UserError(f"{item}: a plan cannot hold a function; pass it in Python")
        if isinstance(written.get("value"), dict):
            raise UserError(
                f"{item}: its value is too large for a plan; save it, and name the file as the value"
            )
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "interventions": plan}
    with write_output(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def _listed(interventions: Any) -> Any:
    """The interventions of any iterable as a list; anything else as it is. Errors of a generator are its own."""
    try:
        iterator = iter(interventions)
    except TypeError:
        return interventions
    return list(iterator)


def to_json(intervention: Intervention, folder: Path | None = None) -> dict[str, Any]:
    """The arguments that are set, as JSON: a function by its name, a large tensor by its SHA-256.

    Paths are absolute, or relative to `folder` if they are inside of it.
    """
    content: dict[str, Any] = {}
    for item in dataclasses.fields(intervention):
        value = getattr(intervention, item.name)
        if item.name == "do" and not isinstance(value, str):
            content["function"] = qualified_name(value)
        elif item.name == "value" and value is not None:
            content["value"] = operands.to_json(value, folder)
        elif value is not None and value != ():
            content[item.name] = list(value) if isinstance(value, tuple) else value
    return content


def from_json(content: Iterable[Any], folder: Path) -> list[Intervention]:
    """The interventions that `to_json` described; relative paths start from `folder`."""
    return [_from_json(item, folder) for item in content]


def _from_json(content: Any, folder: Path) -> Intervention:
    if not isinstance(content, dict):
        raise UserError(f"an intervention is {describe(content)}; allowed: {{…}}")
    if "function" in content:
        raise UserError(f"the function {content['function']} is not part of a plan; pass it in Python")
    _check_keys(content, [item.name for item in dataclasses.fields(Intervention)])
    if missing := [name for name in ("at", "do") if name not in content]:
        raise UserError(f"an intervention lacks {missing[0]!r}")
    value = content.get("value")
    if isinstance(value, dict):
        raise UserError(f"the tensor {value.get('sha256', value)} is not part of a plan; name its file")
    if isinstance(value, str) and operands.is_path(value) and not is_url(value):
        value = str(folder / value)
    return Intervention(**content | {"value": value})


def _check_keys(content: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.0)
            raise UserError(f"unknown key {key!r}; the nearest are {', '.join(near)}")
