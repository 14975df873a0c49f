"""A network that returns the states of its layers together with its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from denoscope.foundation.dtypes import missing_value
from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import Address
from denoscope.hooks.attention import Visitor
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.visitors import VisitedNetwork, Visits

States = dict[str, torch.Tensor]
"""The states [rows, calls, …] of layers by address."""
Call = Callable[[nn.Module, torch.Tensor, torch.Tensor, Mapping[str, Any]], torch.Tensor]
"""How a network is called: (network, x, timestep, inputs) → output."""
Writes = Callable[[], Visits]
"""The visitors that write into one call of a network: new ones each time, so that the call can be repeated."""


def no_writes() -> Visits:
    """Nothing is written."""
    return ()


class Network(Protocol):
    """Calls a network and returns its output, and states [rows, calls, …] by address.

    `skipped` names the layers that the last call did not run as often as planned, whose states are NaN.
    """

    @property
    def skipped(self) -> Sequence[str]: ...
    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any], writes: Writes = no_writes
    ) -> tuple[torch.Tensor, States]: ...


class TappedNetwork:
    """A network that returns the states of layers together with its output.

    Its hooks exist only while it computes an output, and act only on that call: two runs over one network never meet.

    >>> run = TappedNetwork(denoiser.network, denoiser.call, denoiser.chosen_layers(["mid_block"]))
    >>> output, states = run(x, timestep, {})

    A state is [rows, calls, …], since a layer may be called several times in one call of the network. States are read
    after `writes` has changed them, those of an address with `:before` before that.

    Args:
        attached: leave the states in the autograd graph, which keeps alive what they were computed from.
    """

    def __init__(
        self, network: nn.Module, call: Call, layers: Sequence[Layer] = (), *, attached: bool = False
    ):
        self.module = TapModule(network, call, layers, attached=attached)
        self._visited = VisitedNetwork(network)
        reads = self.module.readers()
        self._before = [visit for visit in reads if visit[0].before]
        self._after = [visit for visit in reads if not visit[0].before]

    @property
    def skipped(self) -> Sequence[str]:
        return self.module.skipped

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any], writes: Writes = no_writes
    ) -> tuple[torch.Tensor, States]:
        with self._visited.armed([*self._before, *writes(), *self._after]):
            return self.module(x, timestep, inputs)

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Let the readers see every call of `module` while the block runs, also one that torch.compile traces."""
        with self._visited.unguarded([*self._before, *self._after]):
            yield


class TapModule(nn.Module):
    """A module whose outputs are those of the network and the values that readers took from it.

    When it is compiled, the states are therefore outputs of the graph, not side effects of Python.
    """

    def __init__(self, network: nn.Module, call: Call, layers: Sequence[Layer], *, attached: bool):
        super().__init__()
        self.network, self.call, self.layers, self.attached = network, call, layers, attached
        self.skipped: list[str] = []
        self._values: dict[str, list[torch.Tensor]] = {}

    def readers(self) -> list[tuple[Address, Visitor]]:
        """A visitor for each layer, at its address."""
        return [(layer.place, self._reader(layer.address)) for layer in self.layers]

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        self._values.clear()
        self.skipped.clear()
        output = self.call(self.network, x, timestep, inputs)
        return output, {layer.address: self._state(layer, len(x)) for layer in self.layers}

    def _reader(self, address: str) -> Visitor:
        def read(value: torch.Tensor) -> None:
            # A clone, since the network may change the value in place later in the same call; contiguous, as it is
            # stored.
            value = value if self.attached else value.detach()
            self._values.setdefault(address, []).append(value.clone(memory_format=torch.contiguous_format))

        return read

    def _state(self, layer: Layer, rows: int) -> torch.Tensor:
        """[rows, calls, …]; missing values if the layer was not called as often as planned.

        It is unknown which of the calls was left out, so none of the values is used.
        """
        values = self._values.get(layer.address, [])
        planned = (rows, *(layer.shape or ()))
        if wrong := [value for value in values if tuple(value.shape) != planned]:
            raise UserError(
                f"layer {layer.address!r} has states of shape {list(wrong[0].shape)}, where the dry run had "
                f"{list(planned)}; name another layer"
            )
        if len(values) != layer.calls:
            self.skipped.append(layer.address)
            dtype = layer.dtype or torch.float32
            return torch.full((rows, layer.calls, *planned[1:]), missing_value(dtype), dtype=dtype)
        return values[0].unsqueeze(1) if len(values) == 1 else torch.stack(values, 1)
