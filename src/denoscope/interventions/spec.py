"""Interventions: what is written into which states of a network, and the plan file that holds several."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from denoscope.foundation.atomic_files import write_output
from denoscope.foundation.errors import UserError
from denoscope.interventions import operands
from denoscope.interventions.network_call import Moment

Kind = Literal["set", "add", "scale", "ablate", "swap", "project_out", "noise"]
Function = Callable[[torch.Tensor, Moment], torch.Tensor]
KINDS = get_args(Kind)
FORMAT, FORMAT_VERSION = "denoscope interventions", 1
_PLACES = ("steps", "calls", "heads", "channels", "tokens")
_NAMES = ("at", "branches", "samples")
_RECORDING = "a recording, NAME.zarr or a folder of one"


@dataclass(frozen=True)
class Intervention:
    """What is written at an address, or at all that queries name, while a network runs.

    `do` is what becomes of a state, and `value` what it takes:

    - "set" puts the value in its place, "add" adds it (a steering vector), "scale" multiplies with it
    - "ablate" puts zero there ("zero", the default), the state's own mean over its positions, for each
      channel ("mean"), or the mean over the samples of a recording at the same step (its path)
    - "swap" puts there what a recording (its path) has at the same step, call, branch and sample; or, of the
      samples in it, what `source` names: one for all, or one for each
    - "project_out" takes away what lies along a direction, the value, one number for each channel
    - "noise" adds independent normal numbers of the value's standard deviation, the same in every batch: one
      draw for all samples or one for each sample's name, as the option `noise` of the loop says
    - a function (state [rows, …], moment) → state does what it likes; it should treat each row by itself

    A value is a number, a list, an array or tensor, or the path of a .pt, .npy or .safetensors file of one
    tensor. One list of numbers lies along the channels; any other value has the axes of one sample's state, each
    as long as what is written of it, or 1.

    Where it applies, everywhere unless given: `steps`, `calls` of the network (as in a recording), `heads`,
    `channels` (of tokens their features) and `tokens` are "0:8", "::2", "0,3,-1", one number or several;
    `branches` and `samples` are names, those of samples as a recording has them (sample_0003).

    >>> Intervention("mid_block", "scale", 0.5, steps="0:10")
    >>> Intervention(["up_blocks.*"], "swap", "other.zarr", samples="sample_0003", source="sample_0000")

    Raises: UserError if a field is none of this.
    """

    at: str | Sequence[str]
    do: Kind | Function
    value: Any = None
    steps: str | int | Sequence[int] | None = None
    calls: str | int | Sequence[int] | None = None
    branches: str | Sequence[str] = ()
    heads: str | int | Sequence[int] | None = None
    channels: str | int | Sequence[int] | None = None
    tokens: str | int | Sequence[int] | None = None
    samples: str | Sequence[str] = ()
    source: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name in _PLACES:
            object.__setattr__(self, name, _as_text(name, getattr(self, name)))
        for name in _NAMES:
            object.__setattr__(self, name, _as_names(name, getattr(self, name)))
        object.__setattr__(self, "value", operands.plain(self.value))
        if not self.at or not all(self.at):
            raise UserError("an intervention's 'at' names no layer; give a query such as mid_block")
        if not callable(self.do) and self.do not in KINDS:
            near = difflib.get_close_matches(str(self.do), KINDS, n=3, cutoff=0.0)
            raise UserError(
                f"an intervention's 'do' is {self.do!r}; the nearest are {', '.join(near)}, of "
                f"{', '.join(KINDS)} or a function"
            )
        _check_value(self)

    @property
    def recording(self) -> Path | None:
        """The recording whose states are taken, where one is."""
        takes = self.do == "swap" or (self.do == "ablate" and self.value not in (None, "zero", "mean"))
        return Path(self.value) if takes else None

    def __str__(self) -> str:
        do = self.do if isinstance(self.do, str) else qualified_name(self.do)
        return f"{do} at {', '.join(self.at)}"


def qualified_name(function: Function) -> str:
    """Where a function is defined, and its name there."""
    kind = type(function)
    return f"{getattr(function, '__module__', kind.__module__)}.{getattr(function, '__qualname__', kind.__qualname__)}"


def read_plan(path: str | os.PathLike[str]) -> list[Intervention]:
    """The interventions of a plan file; relative paths of values start from the folder it lies in.

    Raises: UserError naming the file and what is wrong in it.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; name a plan (JSON)") from error
    except ValueError as error:
        raise UserError(f"{path} is no plan of interventions: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("interventions"), list):
        raise UserError(f'{path} is no plan of interventions; needed is {{"interventions": [{{…}}, …]}}')
    version = content.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise UserError(f"{path} has format version {version}; this denoscope reads {FORMAT_VERSION}")
    try:
        _known_keys(content, ("format", "format_version", "interventions"))
        return from_plain(content["interventions"], path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_plan(interventions: Iterable[Intervention], path: str | os.PathLike[str]) -> None:
    """Write a plan file, with paths of values relative to its folder where they lie inside of it.

    Raises: UserError if one of them cannot be written: a function, or a tensor too large for a plan.
    """
    path = Path(path)
    plain = [as_plain(item, path.parent) for item in interventions]
    for item, written in zip(interventions, plain, strict=True):
        if "function" in written:
            raise UserError(f"{item}: a plan cannot hold a function; give it in Python")
        if isinstance(written.get("value"), dict):
            raise UserError(f"{item}: its value is too large for a plan; save it and give the file's path")
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "interventions": plain}
    with write_output(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def as_plain(intervention: Intervention, folder: Path | None = None) -> dict[str, Any]:
    """The fields that are set, as JSON: a function by its name, a large tensor by its SHA-256.

    Paths are absolute, or relative to `folder` where they lie inside of it.
    """
    found: dict[str, Any] = {}
    for item in dataclasses.fields(intervention):
        value = getattr(intervention, item.name)
        if item.name == "do" and not isinstance(value, str):
            found["function"] = qualified_name(value)
        elif item.name == "value" and value is not None:
            found["value"] = operands.as_plain(value, folder)
        elif value is not None and value != ():
            found[item.name] = list(value) if isinstance(value, tuple) else value
    return found


def from_plain(plain: Iterable[Any], folder: Path) -> list[Intervention]:
    """The interventions of what `as_plain` gave, relative paths starting from `folder`."""
    return [_from_plain(item, folder) for item in plain]


def _from_plain(plain: Any, folder: Path) -> Intervention:
    if not isinstance(plain, dict):
        raise UserError(f"an intervention is {plain!r}; needed is {{…}}")
    if "function" in plain:
        raise UserError(f"the function {plain['function']} is not part of a plan; give it in Python")
    _known_keys(plain, [item.name for item in dataclasses.fields(Intervention)])
    if lacks := [name for name in ("at", "do") if name not in plain]:
        raise UserError(f"an intervention lacks {lacks[0]!r}")
    value = plain.get("value")
    if isinstance(value, dict):
        raise UserError(f"the tensor {value.get('sha256', value)} is not part of a plan; give its file")
    if isinstance(value, str) and operands.is_path(value):
        value = str(folder / value)
    return Intervention(**plain | {"value": value})


def _known_keys(plain: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in plain:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.0)
            raise UserError(f"unknown key {key!r}; the nearest are {', '.join(near)}")


def _check_value(intervention: Intervention) -> None:
    """Refuse a value that the kind does not take."""
    do, value = intervention.do, intervention.value
    is_path = operands.is_path(value)
    if callable(do) or do == "ablate":
        fits = value is None or (do == "ablate" and isinstance(value, str))
        needed = f"zero, mean, or {_RECORDING}" if do == "ablate" else "nothing"
    elif do == "swap":
        fits, needed = is_path, _RECORDING
    elif do == "noise":
        fits, needed = isinstance(value, (int, float)) and value > 0, "a standard deviation above 0"
    else:
        fits = value is not None and (is_path or not isinstance(value, str))
        needed = "a number, a list, a tensor, or the path of a .pt, .npy or .safetensors file"
    if not fits:
        raise UserError(f"{intervention}: the value is {value!r}; needed is {needed}")
    if intervention.source is not None and do != "swap":
        raise UserError(f"{intervention}: only swap has a source; leave it out")


def _as_text(name: str, value: Any) -> str | None:
    """One number or several as a text of the form that `selection` reads."""
    if value is None or isinstance(value, str):
        return value
    numbers = [value] if isinstance(value, int) else list(value) if isinstance(value, Iterable) else []
    if not numbers or not all(isinstance(item, int) and not isinstance(item, bool) for item in numbers):
        raise UserError(f"an intervention's {name!r} is {value!r}; allowed: whole numbers, or a text as 0:8")
    return ",".join(map(str, numbers))


def _as_names(name: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(item, str) for item in names):
        raise UserError(f"an intervention's {name!r} is {value!r}; allowed: one name, or a list of them")
    return names
