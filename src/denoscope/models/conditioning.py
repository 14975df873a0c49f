"""What a network is told beside the state and the time: classes, prompts, and guidance between two of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

Inputs = Mapping[str, Any]
UNCONDITIONAL = "uncond."
GUIDED = ("uncond", "cond")


@dataclass(frozen=True, eq=False)
class Condition:
    """Further inputs of the network by their names, with a row for each sample or one for all.

    With `unconditional` inputs the network is called with both, and its outputs are combined to
    u + scale·(c − u), c being that of `inputs`: classifier-free guidance. A network that takes its inputs in a
    mapping (`added_cond_kwargs`) gets them in one.

    Both are halves of one call. `branches` is their order, "uncond,cond" or "cond,uncond"; that of the
    network's own pipelines unless given.

    >>> Condition({"encoder_hidden_states": prompt}, {"encoder_hidden_states": empty}, scale=7.5)

    Raises: UserError if `branches` are others, or there are none.
    Source: Ho and Salimans, Classifier-Free Diffusion Guidance (2022), eq. 6 with scale = 1 + w.
    """

    inputs: Inputs = field(default_factory=dict)
    unconditional: Inputs | None = None
    scale: float = 1.0
    branches: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.branches, str):
            object.__setattr__(self, "branches", tuple(self.branches.split(",")))
        if self.branches and sorted(self.branches) != sorted(GUIDED):
            raise UserError(f"branches is {','.join(self.branches)!r}; allowed: uncond,cond or cond,uncond")
        if self.branches and not self.guided:
            raise UserError(
                "branches is given, but nothing guides this run; give unconditional inputs, or labels with a "
                "guidance_scale above 1, or leave it out"
            )

    @property
    def guided(self) -> bool:
        return self.unconditional is not None

    @property
    def blank(self) -> Inputs:
        """Zeros in the place of all inputs: their names and sizes, whatever the samples are told."""
        return _mapped(self.inputs, torch.zeros_like)

    def of(self, samples: Sequence[int]) -> Condition:
        """The condition of the chosen samples."""

        def chosen(value: torch.Tensor) -> torch.Tensor:
            return value if len(value) == 1 else value[list(samples)]

        return replace(
            self,
            inputs=_mapped(self.inputs, chosen),
            unconditional=None if self.unconditional is None else _mapped(self.unconditional, chosen),
        )

    def rows(self, lanes: int, branches: Sequence[str], like: torch.Tensor) -> dict[str, Any]:
        """The inputs of one call: for each branch `lanes` rows, the last one repeated as padding.

        Floating-point ones come in the precision of `like`, all of them on its device.
        """

        def padded(value: torch.Tensor) -> torch.Tensor:
            value = value.to(like.device, like.dtype if value.is_floating_point() else None)
            return torch.cat([value, value[-1:].expand(lanes - len(value), *value.shape[1:])])

        parts = [self._of_branch(name) for name in branches or ("cond",)]
        return _joined([_mapped(part, padded) for part in parts])

    def check(self, count: int, accepted: Collection[str], needed: Collection[str]) -> None:
        """Refuse what is not there for every one of `count` samples, and names that the network does not take.

        `accepted` are the names that it takes, `needed` those it cannot do without.
        """
        if missing := [name for name in needed if name not in self.inputs]:
            how = "labels=" if missing[0] == "class_labels" else "condition="
            raise UserError(f"the network needs {', '.join(missing)} beside x and timestep; give it ({how}…)")
        for part in (self.inputs, self.unconditional or {}):
            if unknown := [name for name in part if name not in accepted]:
                raise UserError(f"condition: the network takes no input {unknown[0]!r}")
            for name, value in _flat(part).items():
                if isinstance(value, torch.Tensor) and (value.ndim == 0 or len(value) not in (1, count)):
                    found = list(value.shape)
                    raise UserError(
                        f"condition: {name} has shape {found} for {count} samples; needed is one row or {count}"
                    )
        if self.guided and _flat(self.inputs).keys() != _flat(self.unconditional or {}).keys():
            raise UserError("condition: the unconditional inputs must have the names of the conditional ones")

    def check_classes(self, classes: int | None) -> None:
        """Refuse labels that are none of so many classes; None where the network knows none."""
        for part in (self.inputs, self.unconditional or {}):
            labels = part.get("class_labels")
            if classes is None or not isinstance(labels, torch.Tensor):
                continue
            if labels.is_floating_point():
                raise UserError(f"condition: class_labels are {labels.dtype}; needed are whole numbers")
            if (wrong := labels[(labels < 0) | (labels >= classes)]).numel():
                raise UserError(
                    f"condition: class_labels names class {int(wrong[0])}; allowed: 0 to {classes - 1}"
                )

    def coords(self, count: int) -> dict[str, np.ndarray]:
        """The classes of `count` samples, where they have one each."""
        labels = self.inputs.get("class_labels")
        return {} if labels is None else {"class_label": np.broadcast_to(labels.numpy(), count).copy()}

    def digest(self) -> str:
        """SHA-256 over names and values."""
        found = hashlib.sha256(repr(self.scale).encode() + ",".join(self.branches).encode())
        for part in (self.inputs, self.unconditional or {}):
            for name, value in sorted(_flat(part).items()):
                told = (
                    value.contiguous().reshape(-1).view(torch.uint8)
                    if isinstance(value, torch.Tensor)
                    else None
                )
                found.update(
                    name.encode() + b"\0" + (repr(value).encode() if told is None else told.numpy().tobytes())
                )
        return found.hexdigest()

    def _of_branch(self, name: str) -> Inputs:
        return (self.unconditional or {}) if name == "uncond" else self.inputs


NOTHING = Condition()


def check_condition(given: Any) -> None:
    """Refuse what is no condition, such as the inputs alone."""
    if not isinstance(given, Condition):
        raise UserError(
            f"condition is {describe(given)}; needed is a Condition: ds.Condition({{name: tensor, …}})"
        )


def of_first(condition: Condition) -> Condition:
    """The condition of the first sample, for all to be told the same."""
    check_condition(condition)
    return condition.of([0])


def read(path: str | os.PathLike[str], *, scale: float = 1.0) -> Condition:
    """A condition from a .safetensors file: tensors by the names of the network's inputs.

    `added_cond_kwargs.time_ids` goes into a mapping; a name that begins with `uncond.` is unconditional.
    """
    named = tensor_files.load_safetensors(Path(path))
    uncond = {
        name.removeprefix(UNCONDITIONAL): value
        for name, value in named.items()
        if name.startswith(UNCONDITIONAL)
    }
    cond = {name: value for name, value in named.items() if not name.startswith(UNCONDITIONAL)}
    return Condition(_nested(cond), _nested(uncond) if uncond else None, scale)


def of_labels(
    labels: Sequence[int], classes: int | None, *, null: int | None = None, scale: float = 1.0
) -> Condition:
    """The condition of class labels, guided by `scale` away from the class `null` where that is above 1.

    Raises: UserError if a label is not among `classes`, or guidance has no null class.
    """
    if classes is None:
        raise UserError("labels are given, but this network takes no classes")
    if wrong := [label for label in labels if not 0 <= label < classes]:
        raise UserError(f"labels names class {wrong[0]}; allowed: 0 to {classes - 1}")
    inputs = {"class_labels": torch.tensor(list(labels))}
    if scale == 1:
        return Condition(inputs)
    if null is None:
        raise UserError(
            "this network has no class for 'none' that guidance could lead away from; leave out guidance_scale"
        )
    return Condition(inputs, {"class_labels": torch.full((len(labels),), null)}, scale)


def _mapped(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """The inputs with every tensor changed, in whatever mapping it lies."""
    return {
        name: _mapped(value, change)
        if isinstance(value, Mapping)
        else change(value)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in inputs.items()
    }


def _joined(parts: Sequence[Inputs]) -> dict[str, Any]:
    """The inputs of all branches, one behind the other."""
    first = parts[0]
    return {
        name: _joined([part[name] for part in parts])
        if isinstance(value, Mapping)
        else torch.cat([part[name] for part in parts])
        if isinstance(value, torch.Tensor)
        else value
        for name, value in first.items()
    }


def _flat(inputs: Inputs) -> dict[str, Any]:
    """Every value by its dotted name."""
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": item for inner, item in _flat(value).items()}
        else:
            found[name] = value
    return found


def shapes(inputs: Inputs) -> str:
    """The names of the inputs with the shapes of tensors among them."""
    return ", ".join(
        f"{name} {list(value.shape)}"
        for name, value in _flat(inputs).items()
        if isinstance(value, torch.Tensor)
    )


def _nested(named: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named.items():
        *outer, inner = name.split(".")
        place = found
        for part in outer:
            place = place.setdefault(part, {})
        place[inner] = value
    return found
