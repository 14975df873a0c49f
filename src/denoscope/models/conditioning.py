"""Inputs of a network besides state and time: classes, prompts, and classifier-free guidance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import html_repr, tensor_files
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_real

Inputs = Mapping[str, Any]
UNCONDITIONAL = "uncond."
GUIDED = ("uncond", "cond")


@calls_checked
@dataclass(frozen=True, eq=False, repr=False)
class Condition:
    """Further inputs of the network by name, with one row per sample or one row for all.

    With `unconditional` inputs, the network is called with both, and the prediction is u + scale·(c − u), where c is
    the output for `inputs` and u the unconditional one: classifier-free guidance. An input that the network takes as
    a mapping (`added_cond_kwargs`) is given as a mapping.

    c and u are the halves of one call. `branches` is their order, "uncond,cond" or "cond,uncond"; by default that of
    the network's pipelines.

    >>> Condition({"encoder_hidden_states": prompt}, {"encoder_hidden_states": empty}, scale=7.5)

    Raises: UserError if `branches` names other halves, or is given without unconditional inputs.
    Source: Ho and Salimans, Classifier-Free Diffusion Guidance (2022), eq. 6 with scale = 1 + w.
    """

    inputs: Inputs = field(default_factory=dict)
    unconditional: Inputs | None = None
    scale: float = 1.0
    branches: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inputs", "unconditional"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) and (name == "inputs" or value is not None):
                raise UserError(
                    f"{spelled(name)} is {describe(value)}; allowed: a mapping from inputs to tensors"
                )
        parse_real(self.scale, "scale")
        if isinstance(self.branches, str):
            object.__setattr__(self, "branches", tuple(self.branches.split(",")) if self.branches else ())
        is_list = isinstance(self.branches, (tuple, list)) and all(isinstance(n, str) for n in self.branches)
        if not is_list or (self.branches and sorted(self.branches) != sorted(GUIDED)):
            given = describe(",".join(self.branches) if is_list else self.branches)
            raise UserError(f"{spelled('branches')} is {given}; allowed: uncond,cond or cond,uncond")
        if self.branches and not self.guided:
            raise UserError(
                f"{spelled('branches')} is given without guidance; give unconditional inputs, or labels with "
                f"{spelled('guidance_scale')} above 1, or leave it out"
            )

    def __repr__(self) -> str:
        parts = [
            f"{name}: {text}" if name in ("inputs", "unconditional") else f"{name} {text}"
            for name, text in self._shown().items()
        ]
        return f"<Condition {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        return html_repr.table("Condition", self._shown())

    def _shown(self) -> dict[str, str]:
        """Inputs by their shapes, and the guidance if there is one."""
        shown = {"inputs": _described(self.inputs)}
        if self.unconditional is not None:
            shown |= {"unconditional": _described(self.unconditional), "scale": f"{self.scale:g}"}
        return shown | ({"branches": ",".join(self.branches)} if self.branches else {})

    @property
    def guided(self) -> bool:
        return self.unconditional is not None

    @property
    def blank(self) -> Inputs:
        """The inputs with every tensor replaced by zeros: names and sizes without values."""
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
        """The inputs of one call: `lanes` rows per branch, the last one repeated as padding.

        They are on the device of `like`, and floating-point ones in its precision.
        """

        def padded(value: torch.Tensor) -> torch.Tensor:
            value = value.to(like.device, like.dtype if value.is_floating_point() else None)
            return torch.cat([value, value[-1:].expand(lanes - len(value), *value.shape[1:])])

        parts = [self._of_branch(name) for name in branches or ("cond",)]
        return _joined([_mapped(part, padded) for part in parts])

    def check(self, count: int, accepted: Collection[str], needed: Collection[str]) -> None:
        """Refuse inputs that do not fit `count` samples or that the network does not take, and missing ones.

        Args:
            accepted: the names that the network takes.
            needed: the names that it requires.
        """
        if missing := [name for name in needed if name not in self.inputs]:
            how = spelled("labels" if missing[0] == "class_labels" else "condition")
            raise UserError(f"the network requires {', '.join(missing)} besides x and timestep; pass {how}")
        for part in (self.inputs, self.unconditional or {}):
            if unknown := [name for name in part if name not in accepted]:
                raise UserError(
                    f"{spelled('condition')} has the input {unknown[0]!r}, which the network does not take"
                )
            for name, value in _flat(part).items():
                if isinstance(value, torch.Tensor) and (value.ndim == 0 or len(value) not in (1, count)):
                    raise UserError(
                        f"{spelled('condition')}: {name} has shape {list(value.shape)} for {count} samples; allowed: one "
                        f"row or {count}"
                    )
        if self.guided and _flat(self.inputs).keys() != _flat(self.unconditional or {}).keys():
            raise UserError(
                f"{spelled('condition')}: the unconditional inputs are {', '.join(_flat(self.unconditional or {}))}; "
                f"allowed: the names of the conditional ones, {', '.join(_flat(self.inputs))}"
            )

    def check_classes(self, classes: int | None) -> None:
        """Refuse labels that are not in the range of `classes`; None for a network without classes."""
        for part in (self.inputs, self.unconditional or {}):
            labels = part.get("class_labels")
            if classes is None or not isinstance(labels, torch.Tensor):
                continue
            if labels.is_floating_point():
                raise UserError(
                    f"{spelled('condition')}: class_labels have dtype {labels.dtype}; allowed: an integer dtype"
                )
            if (wrong := labels[(labels < 0) | (labels >= classes)]).numel():
                raise UserError(
                    f"{spelled('condition')}: class_labels names class {int(wrong[0])}; allowed: 0 to {classes - 1}"
                )

    def coords(self, count: int) -> dict[str, np.ndarray]:
        """The labels of `count` samples as a coordinate; empty without labels, and for labels that are vectors."""
        labels = self.inputs.get("class_labels")
        if labels is None or labels.ndim > 1:
            return {}
        return {"class_label": np.broadcast_to(labels.numpy(), count).copy()}

    def digest(self) -> str:
        """SHA-256 over names and values."""
        digest = hashlib.sha256(repr(self.scale).encode() + ",".join(self.branches).encode())
        for part in (self.inputs, self.unconditional or {}):
            for name, value in sorted(_flat(part).items()):
                digest.update(name.encode() + b"\0" + _bytes_of(value))
        return digest.hexdigest()

    def _of_branch(self, name: str) -> Inputs:
        return (self.unconditional or {}) if name == "uncond" else self.inputs


NOTHING = Condition()


def check_condition(given: Any) -> None:
    """Refuse anything but a Condition, such as the inputs alone."""
    if not isinstance(given, Condition):
        raise UserError(
            f"condition is {describe(given)}; allowed: a Condition, such as ds.Condition({{name: tensor, …}})"
        )


def of_first(condition: Condition) -> Condition:
    """The condition of the first sample, which then applies to all samples."""
    check_condition(condition)
    return condition.of([0])


def read(path: str | os.PathLike[str], *, scale: float = 1.0) -> Condition:
    """A condition from a .safetensors file of tensors named as the network's inputs.

    `added_cond_kwargs.time_ids` is an entry of a mapping. A name with `uncond.` in front is an unconditional input.
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
    """The condition of class labels, with guidance away from the class `null` if `scale` is above 1.

    Raises: UserError if a label is not below `classes`, or there is no null class for guidance.
    """
    if classes is None:
        raise UserError(f"{spelled('labels')} is given, but the network takes no classes; leave it out")
    if wrong := [label for label in labels if not 0 <= label < classes]:
        raise UserError(f"{spelled('labels')} names class {wrong[0]}; allowed: 0 to {classes - 1}")
    inputs = {"class_labels": torch.tensor(list(labels))}
    if scale == 1:
        return Condition(inputs)
    if null is None:
        raise UserError(
            f"{spelled('guidance_scale')} is {scale:g}, but the network names no null class, from which guidance "
            "could lead away; leave it out, or add _null_class to its config.json"
        )
    return Condition(inputs, {"class_labels": torch.full((len(labels),), null)}, scale)


def _mapped(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """The inputs with a function applied to every tensor, also inside mappings."""

    def mapped(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _mapped(value, change)
        return change(value) if isinstance(value, torch.Tensor) else value

    return {name: mapped(value) for name, value in inputs.items()}


def _joined(parts: Sequence[Inputs]) -> dict[str, Any]:
    """The inputs of all branches, concatenated along the rows."""

    def joined(values: Sequence[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return _joined(values)
        return torch.cat(list(values)) if isinstance(values[0], torch.Tensor) else values[0]

    return {name: joined([part[name] for part in parts]) for name in parts[0]}


def _flat(inputs: Inputs) -> dict[str, Any]:
    """Every value by its dotted name."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": item for inner, item in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return repr(value).encode()


def shapes(inputs: Inputs) -> str:
    """The names and shapes of the tensors among the inputs, in words."""
    return ", ".join(
        f"{name} {list(value.shape)}"
        for name, value in _flat(inputs).items()
        if isinstance(value, torch.Tensor)
    )


def _described(inputs: Inputs) -> str:
    """The names of all inputs, with the shapes of tensors and short descriptions of other values."""
    texts = [
        f"{name} {list(value.shape) if isinstance(value, torch.Tensor) else describe(value)}"
        for name, value in _flat(inputs).items()
    ]
    return ", ".join(texts) or "none"


def _nested(named: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Mappings from dotted names, the inverse of `_flat`."""
    nested: dict[str, Any] = {}
    for name, value in named.items():
        *outer, inner = name.split(".")
        mapping = nested
        for part in outer:
            mapping = mapping.setdefault(part, {})
        mapping[inner] = value
    return nested
