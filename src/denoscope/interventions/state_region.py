"""The part of a layer's states that an intervention writes: heads, channels and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import parse
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import NAMES, places
from denoscope.interventions import operands

ATTENTION_AXES = {"probs": ("head", "token", "key")} | dict.fromkeys("qkv", ("head", "token", "feature"))
AXES = {"heads": ("head",), "channels": ("channel", "feature", "key"), "tokens": ("token",)}


@dataclass(frozen=True)
class Region:
    """The places of one sample's state that `texts` name: by "heads", "channels" and "tokens", None for all.

    The channels of tokens are their features, those of attention's weights the keys. `where` begins messages.
    """

    layer: Layer
    texts: Mapping[str, str | None]
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's state."""
        return self.layer.shape or ()

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes of one sample's state."""
        what, rank = parse(self.layer.address).what, len(self.shape)
        own = ATTENTION_AXES.get(what, NAMES.get(rank))
        return own or tuple(f"axis_{axis}" for axis in range(rank))

    @property
    def channel(self) -> int:
        """The axis of the channels; the last where none is named so."""
        axis = self._axis("channels")
        return len(self.axes) - 1 if axis is None else axis

    @property
    def positions(self) -> list[int]:
        """The axes along which a channel, or one of a head, has its values."""
        return [k for k, name in enumerate(self.axes) if k != self.channel and name != "head"]

    @cached_property
    def chosen(self) -> list[list[int] | None]:
        """The places on each axis, None for all.

        Raises: UserError if a text does not fit its axis, or there is none.
        """
        found: list[list[int] | None] = [None] * len(self.shape)
        for name, text in self.texts.items():
            if text is None:
                continue
            axis = self._axis(name)
            if axis is None:
                told = ", ".join(self.axes)
                raise UserError(
                    f"{self.where}: a state of shape {list(self.shape)} ({told}) has no {name}; leave it out"
                )
            try:
                found[axis] = sorted(set(places(text, self.shape[axis])))
            except UserError as error:
                raise UserError(f"{self.where}: {name} {error}") from error
        return found

    @cached_property
    def mask(self) -> torch.Tensor | None:
        """[1, …], true where a state is written; None for all of it."""
        mask: torch.Tensor | None = None
        for axis, chosen in enumerate(self.chosen):
            if chosen is not None:
                one = torch.zeros(self.shape[axis], dtype=torch.bool)
                one[chosen] = True
                one = one.reshape(*[1] * (axis + 1), -1, *[1] * (len(self.shape) - axis - 1))
                mask = one if mask is None else mask & one
        return mask

    def spread(self, value: torch.Tensor) -> torch.Tensor:
        """A value for these places as one [1, …] for whole states, zero in all other places.

        Raises: UserError with both shapes if it does not fit.
        """
        sizes = list(zip(self.shape, self.chosen, strict=True))
        written = [size if chosen is None else len(chosen) for size, chosen in sizes]
        value = operands.fitted(value, written, self.channel, self.where)
        for axis, (size, chosen) in enumerate(sizes):
            if chosen is not None and value.shape[axis] > 1:
                wide = value.new_zeros(*value.shape[:axis], size, *value.shape[axis + 1 :])
                value = wide.index_copy(axis, torch.tensor(chosen), value)
        return value.unsqueeze(0)

    def _axis(self, name: str) -> int | None:
        return next((k for k, axis in enumerate(self.axes) if axis in AXES[name]), None)
