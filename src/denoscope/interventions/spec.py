"""Interventions as a user writes them: what happens to which states of a network."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from denoscope.foundation import html_repr
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_call, describe
from denoscope.interventions import operands
from denoscope.interventions.operations import KINDS, Call, Function, Kind, qualified_name
from denoscope.interventions.site import Scope

Do = Literal["set", "add", "scale", "ablate", "swap", "project_out", "noise"]
Places = str | int | Sequence[int] | None
_PLACES = ("steps", "calls", "heads", "channels", "tokens")
_NAMES = ("at", "branches", "samples")


@calls_checked
@dataclass(frozen=True, repr=False)
class Intervention:
    """A change of the states at an address, or at all addresses that queries match, while a network runs.

    >>> Intervention("mid_block", "scale", 0.5, steps="0:10")
    >>> Intervention(["up_blocks.*"], "swap", "other.zarr", samples="sample_0003", source="sample_0000")

    Args:
        at: a query or several, as for `layers`.
        do: what happens to a state, given the value:

            - "set" replaces it by the value, "add" adds the value (a steering vector), "scale" multiplies by it.
            - "ablate" replaces it by zero ("zero", the default), by its own mean over its positions, for each
              channel ("mean"), or by the mean over the samples of a recording at the same step (a path).
            - "swap" replaces it by the state that a recording (a path) has at the same step, call, branch and
              sample, or of the samples that `source` names.
            - "project_out" removes the component along a direction, the value, one number for each channel.
            - "noise" adds independent normal numbers of the value's standard deviation, the same in every batch:
              one draw for all samples or one for each sample's name, as the loop's option `noise` says.
            - a function (state [rows, …], call) → state computes the new state. `call` has `step`, `call`,
              `timestep`, `names` and `branches`. The function should treat each row by itself.
        value: a number, a list, a NumPy or xarray array or a tensor, or the path of a .pt, .npy or .safetensors file
            with one tensor. One list of numbers extends along the channels. Any other value has the axes of one
            sample's state, each as long as the part that is written, or of length 1.
        steps, calls, heads, channels, tokens: where it applies; everywhere unless given. "0:8", "::2", "0,3,-1", one
            index or several. `calls` are those of a recording; the channels of tokens are their features.
        branches, samples: names, those of samples as in a recording (sample_0003); all unless given.
        source: of "swap", the sample of the recording for all samples, or a mapping from samples to its samples.

    Raises: UserError if an argument is not one of these.
    """

    at: str | Sequence[str]
    do: Do | Function
    value: Any = None
    steps: Places = None
    calls: Places = None
    branches: str | Sequence[str] = ()
    heads: Places = None
    channels: Places = None
    tokens: Places = None
    samples: str | Sequence[str] = ()
    source: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name in _PLACES:
            object.__setattr__(self, name, _as_text(name, getattr(self, name)))
        for name in _NAMES:
            object.__setattr__(self, name, _as_names(name, getattr(self, name)))
        object.__setattr__(self, "value", operands.normalized(self.value))
        if not self.at or not all(self.at):
            raise UserError("'at' of an intervention is empty; allowed: a query, such as 'mid_block'")
        if not callable(self.do) and not (isinstance(self.do, str) and self.do in KINDS):
            near = difflib.get_close_matches(str(self.do), KINDS, n=1, cutoff=0.5)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise UserError(
                f"'do' of an intervention is {describe(self.do)}{hint}; allowed: "
                f"{', '.join(get_args(Do))} or a function"
            )
        if callable(self.do):
            check_call(self.do, ("state", "call"), "'do' of an intervention")
        self.kind.check(self.value, str(self))
        if self.source is not None and self.do != "swap":
            raise UserError(
                f"{self}: source is {describe(self.source)}, but only swap has a source; leave it out"
            )

    @property
    def kind(self) -> type[Kind]:
        """The class of its operations."""
        return KINDS[self.do] if isinstance(self.do, str) else Call

    @property
    def scope(self) -> Scope:
        """Where and when it applies."""
        restrictions: dict[str, Any] = {
            name: getattr(self, name) for name in ("steps", "calls", "branches", "samples")
        }
        return Scope(
            **restrictions, axes={name: getattr(self, name) for name in ("heads", "channels", "tokens")}
        )

    @property
    def label(self) -> str:
        """Its kind, for messages."""
        return self.do if isinstance(self.do, str) else "function"

    def __str__(self) -> str:
        do = self.do if isinstance(self.do, str) else qualified_name(self.do)
        return f"{do} at {', '.join(self.at)}"

    def __repr__(self) -> str:
        shown = [f"{name}={value}" for name, value in self._shown().items()]
        return f"Intervention({', '.join(shown)})"

    def _repr_html_(self) -> str:
        return html_repr.table(f"Intervention: {self}", self._shown())

    def _shown(self) -> dict[str, str]:
        """The arguments that are set, by their reprs or shapes."""
        arguments = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {
            name: _short(value[0] if name in _NAMES and len(value) == 1 else value)
            for name, value in arguments.items()
            if value is not None and value != ()
        }


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"tensor {list(value.shape)}"
    return qualified_name(value) if callable(value) else describe(value)


def _as_text(name: str, value: Any) -> str | None:
    """One index or several as a text."""
    if value is None or isinstance(value, str):
        return value
    indices = [value] if isinstance(value, int) else _listed(value)
    if not indices or not all(isinstance(item, int) and not isinstance(item, bool) for item in indices):
        raise UserError(
            f"{name!r} of an intervention is {describe(value)}; allowed: integers, or a string such as '0:8'"
        )
    return ",".join(map(str, indices))


def _listed(value: Any) -> list[Any]:
    """The items of a list or array; none of anything else."""
    with suppress(TypeError):
        return list(value)
    return []


def _as_names(name: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(_listed(value))
    is_empty = not names and not isinstance(value, (tuple, list))
    if is_empty or not all(isinstance(item, str) for item in names):
        raise UserError(
            f"{name!r} of an intervention is {describe(value)}; allowed: a name, or several in a list"
        )
    return names


def as_interventions(interventions: Any) -> Sequence[Intervention]:
    """The interventions of an argument: one, or several.

    Raises: UserError if one of them is not an Intervention.
    """
    several = [interventions] if isinstance(interventions, Intervention) else interventions
    if not isinstance(several, Sequence) or not all(isinstance(item, Intervention) for item in several):
        raise UserError(
            f"{spelled('interventions')} is {describe(interventions)}; allowed: ds.Intervention(…), or several in a list"
        )
    return several
