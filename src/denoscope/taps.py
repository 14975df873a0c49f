"""Reading states: what the chosen layers put out in each call of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from denoscope.compiled import Compiled, Tapped, channels_last
from denoscope.errors import UserError
from denoscope.layers import first_tensor, output_hooks

States = dict[str, torch.Tensor]


class _TappedNetwork(nn.Module):
    """A network that returns the states its hooks read together with its output.

    So the states are outputs of the graph when it is compiled, not side effects of Python.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.read: States = {}

    def note(self, address: str, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None:
            raise UserError(f"layer {address!r} puts out no tensor that could be recorded")
        # A clone, since the network may change its output in place later in the same call; laid out as it is
        # stored, which costs nothing on the way.
        self.read[address] = tensor.detach().clone(memory_format=torch.contiguous_format)

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor, States]:
        self.read.clear()
        output = self.network(x, timestep)
        return output if isinstance(output, torch.Tensor) else output.sample, dict(self.read)


@contextmanager
def tapped(network: nn.Module, addresses: Sequence[str] = (), *, fast: bool = False) -> Iterator[Tapped]:
    """The network as a function of (x, timestep) that returns its output and the states at `addresses`.

    >>> with tapped(denoiser.network, ["mid_block"]) as run:
    ...     output, states = run(x, timestep)

    Of a layer that is called several times in one run, the last output is read. With `fast` the network is
    laid out with its channels last while the block runs, and compiled as one graph.
    """
    modules = dict(network.named_modules())
    wrapped = _TappedNetwork(network)
    with output_hooks([(address, modules[address]) for address in addresses], wrapped.note):
        if not fast:
            yield wrapped
            return
        with channels_last(network):
            yield Compiled(wrapped)
