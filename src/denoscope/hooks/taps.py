"""Reading states: what passes at the chosen addresses in each call of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import Address, parse
from denoscope.hooks.attention import Visitor
from denoscope.hooks.compiled import Compiled, States, Tapped, channels_last
from denoscope.hooks.hooks import visiting
from denoscope.hooks.module_survey import Layer

Call = Callable[[nn.Module, torch.Tensor, torch.Tensor, Mapping[str, Any]], torch.Tensor]
Visits = Sequence[tuple[Address, Visitor]]


class _TappedNetwork(nn.Module):
    """A network that returns the states its visitors read together with its output.

    So the states are outputs of the graph when it is compiled, not side effects of Python.
    """

    def __init__(self, network: nn.Module, call: Call, layers: Sequence[Layer], *, attached: bool):
        super().__init__()
        self.network, self.call, self.layers, self.attached = network, call, layers, attached
        self.read: dict[str, list[torch.Tensor]] = {}
        self.skipped: list[str] = []

    def visits(self) -> list[tuple[Address, Visitor]]:
        return [(parse(layer.address), self._reader(layer.address)) for layer in self.layers]

    def _reader(self, address: str) -> Visitor:
        def read(value: torch.Tensor) -> None:
            # A clone, since the network may change the value in place later in the same call; laid out as it
            # is stored, which costs nothing on the way.
            found = value if self.attached else value.detach()
            self.read.setdefault(address, []).append(found.clone(memory_format=torch.contiguous_format))

        return read

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        self.read.clear()
        self.skipped.clear()
        output = self.call(self.network, x, timestep, inputs)
        return output, {layer.address: self._state(layer, len(x)) for layer in self.layers}

    def _state(self, layer: Layer, rows: int) -> torch.Tensor:
        """[rows, calls, …]; NaN where the layer was not called as often as planned.

        Which of several calls was left out cannot be known, so none of them is given the place of another.
        """
        found = self.read.get(layer.address, [])
        planned = (rows, *(layer.shape or ()))
        if wrong := [state for state in found if tuple(state.shape) != planned]:
            raise UserError(
                f"layer {layer.address!r} has states of shape {list(wrong[0].shape)}, where "
                f"{list(planned)} was planned; name another layer"
            )
        if len(found) != layer.calls:
            self.skipped.append(layer.address)
            return torch.full((rows, layer.calls, *planned[1:]), torch.nan)
        return found[0].unsqueeze(1) if len(found) == 1 else torch.stack(found, 1)


@contextmanager
def tapped(
    network: nn.Module,
    call: Call,
    layers: Sequence[Layer] = (),
    *,
    writes: Visits = (),
    fast: bool = False,
    attached: bool = False,
) -> Iterator[Tapped]:
    """The network as a function of (x, timestep, inputs) that returns its output and the states of `layers`.

    >>> with tapped(denoiser.network, denoiser.call, denoiser.chosen_layers(["mid_block"])) as run:
    ...     output, states = run(x, timestep, {})

    A state is [rows, calls, …]: a layer may be called several times in one run of the network. States are
    read behind the visitors `writes` that change them, those of an address with `:before` in front. With
    `fast` the network is laid out with its channels last while the block runs, and compiled as one graph.

    Args:
        call: how the network is called, with (network, x, timestep, inputs).
        attached: leave the states in the graph of derivatives, which holds on to what they were made of.
    """
    wrapped = _TappedNetwork(network, call, layers, attached=attached)
    reads = wrapped.visits()
    early = [visit for visit in reads if visit[0].before]
    late = [visit for visit in reads if not visit[0].before]
    with visiting(network, [*early, *writes, *late]):
        if not fast:
            yield wrapped
            return
        with channels_last(network):
            yield Compiled(wrapped)


def layers_at(
    network: nn.Module, addresses: Sequence[Address], surveyed: Sequence[Layer], run: Callable[[int], Any]
) -> list[Layer]:
    """What is read at each address: as the survey of the modules saw it, else from another dry run.

    Args:
        run: calls the network once on a batch of the given number of rows.
    """
    known = {layer.address: layer for layer in surveyed}
    special = [address for address in addresses if str(address) not in known]
    if special:
        known |= {layer.address: layer for layer in _survey(network, special, run)}
    return [known[str(address)] for address in addresses]


def _survey(network: nn.Module, addresses: Sequence[Address], run: Callable[[int], Any]) -> list[Layer]:
    """What is read at each address, from a dry run of two rows and one of three, as for whole modules."""
    first, second = (_dry_run(network, addresses, run, rows) for rows in (2, 3))
    modules = dict(network.named_modules())
    return [
        _layer(address, type(modules[address.path]).__name__, first[address], second[address])
        for address in addresses
    ]


def _dry_run(
    network: nn.Module, addresses: Sequence[Address], run: Callable[[int], Any], rows: int
) -> dict[Address, list[tuple[tuple[int, ...], torch.dtype]]]:
    """Shape, with its rows, and dtype of every value that passed at the addresses."""
    seen: dict[Address, list[tuple[tuple[int, ...], torch.dtype]]] = {address: [] for address in addresses}

    def noting(address: Address) -> Visitor:
        return lambda value: seen[address].append((tuple(value.shape), value.dtype))

    with torch.no_grad(), visiting(network, [(address, noting(address)) for address in addresses]):
        run(rows)
    return seen


def _layer(address: Address, kind: str, first: Sequence[Any], second: Sequence[Any]) -> Layer:
    if not first:
        raise UserError(
            f"layer {str(address)!r}: {kind} computes no attention by PyTorch's scaled dot product"
        )
    shapes = {shape for shape, _ in first}
    if len(shapes) > 1:
        raise UserError(
            f"layer {str(address)!r} has states of different shapes in one run, "
            f"{' and '.join(str(list(shape[1:])) for shape in sorted(shapes))}; name the layers inside of it"
        )
    (shape, dtype), (other, _) = first[0], second[0]
    has_rows = shape[:1] == (2,) and other[:1] == (3,) and shape[1:] == other[1:]
    return Layer(str(address), kind, shape[1:] if has_rows else None, dtype, len(first))
