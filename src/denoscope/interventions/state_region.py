"""The part of a layer's states that an intervention writes: heads, channels and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from denoscope.foundation.errors import UserError
from denoscope.hooks.index_texts import parse_indices
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import NAMES
from denoscope.interventions import operands

ATTENTION_AXES = {"probs": ("head", "token", "key")} | dict.fromkeys("qkv", ("head", "token", "feature"))
AXES = {"heads": ("head",), "channels": ("channel", "feature", "key"), "tokens": ("token",)}


@dataclass(frozen=True)
class Region:
    """The part of one sample's state that `texts` name: by "heads", "channels" and "tokens", None for all.

    The channels of tokens are their features, those of attention weights the keys. `site` is the start of messages.
    """

    layer: Layer
    texts: Mapping[str, str | None]
    site: str

    def __post_init__(self) -> None:
        _ = self.indices  # refuses texts that do not fit

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's state."""
        return self.layer.shape or ()

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes of one sample's state."""
        rank = len(self.shape)
        names = ATTENTION_AXES.get(self.layer.place.what, NAMES.get(rank))
        return names or tuple(f"axis_{axis}" for axis in range(rank))

    @property
    def channel(self) -> int:
        """The axis of the channels; the last one if none has such a name."""
        axis = self._axis("channels")
        return len(self.axes) - 1 if axis is None else axis

    @property
    def positions(self) -> list[int]:
        """The axes along which one channel, or one channel of a head, extends."""
        return [axis for axis, name in enumerate(self.axes) if axis != self.channel and name != "head"]

    @cached_property
    def indices(self) -> list[list[int] | None]:
        """The indices on each axis, None for all.

        Raises: UserError if a text does not fit its axis, or there is no such axis.
        """
        indices: list[list[int] | None] = [None] * len(self.shape)
        for name, text in self.texts.items():
            if text is None:
                continue
            axis = self._axis(name)
            if axis is None:
                raise UserError(
                    f"{self.site}: {name} is {text!r}, but a state of shape {list(self.shape)} ({', '.join(self.axes)}) "
                    f"has no {name}; leave it out"
                )
            try:
                indices[axis] = sorted(set(parse_indices(text, self.shape[axis])))
            except UserError as error:
                raise UserError(f"{self.site}: {name} {error}") from error
        return indices

    @cached_property
    def mask(self) -> torch.Tensor | None:
        """[1, …], true where a state is written; None for all of it."""
        mask: torch.Tensor | None = None
        for axis, indices in enumerate(self.indices):
            if indices is not None:
                along = torch.zeros(self.shape[axis], dtype=torch.bool)
                along[indices] = True
                along = along.reshape(*[1] * (axis + 1), -1, *[1] * (len(self.shape) - axis - 1))
                mask = along if mask is None else mask & along
        return mask

    def spread(self, value: torch.Tensor) -> torch.Tensor:
        """A value for this part as one [1, …] for whole states, zero elsewhere.

        Raises: UserError with both shapes if it does not fit.
        """
        sizes = list(zip(self.shape, self.indices, strict=True))
        written = [size if indices is None else len(indices) for size, indices in sizes]
        value = operands.fit(value, written, self.channel, self.site)
        for axis, (size, indices) in enumerate(sizes):
            if indices is not None and value.shape[axis] > 1:
                whole = value.new_zeros(*value.shape[:axis], size, *value.shape[axis + 1 :])
                value = whole.index_copy(axis, torch.tensor(indices), value)
        return value.unsqueeze(0)

    def _axis(self, name: str) -> int | None:
        return next((k for k, axis in enumerate(self.axes) if axis in AXES[name]), None)
