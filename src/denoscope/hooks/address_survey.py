"""The values at addresses of a network, with their shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import Address
from denoscope.hooks.attention import Visitor
from denoscope.hooks.module_survey import Layer, layer_of
from denoscope.hooks.visitors import VisitedNetwork

Run = Callable[[int], Any]
"""Calls the network once with a batch of the given number of rows."""
Values = list[tuple[tuple[int, ...], torch.dtype]]
"""The shape, including the axis of rows, and the dtype of every value that passed."""


def layers_at(
    network: nn.Module, addresses: Sequence[Address], surveyed: Sequence[Layer], run: Run
) -> list[Layer]:
    """The layer at each address, from the survey of the modules or else from another dry run."""
    known = {layer.place: layer for layer in surveyed}
    others = [address for address in addresses if address not in known]
    if others:
        known |= _survey(network, others, run)
    return [known[address] for address in addresses]


def _survey(network: nn.Module, addresses: Sequence[Address], run: Run) -> dict[Address, Layer]:
    """The layer at each address, from a dry run of two rows and one of three, as for whole modules."""
    visited, modules = VisitedNetwork(network), dict(network.named_modules())
    first, second = (_dry_run(visited, addresses, run, rows) for rows in (2, 3))
    return {
        address: _layer(modules[address.path], address, first[address], second[address])
        for address in addresses
    }


def _dry_run(
    visited: VisitedNetwork, addresses: Sequence[Address], run: Run, rows: int
) -> dict[Address, Values]:
    values: dict[Address, Values] = {address: [] for address in addresses}

    def noting(address: Address) -> Visitor:
        return lambda value: values[address].append((tuple(value.shape), value.dtype))

    with torch.no_grad(), visited.armed([(address, noting(address)) for address in addresses]):
        run(rows)
    return values


def _layer(module: nn.Module, address: Address, first: Values, second: Values) -> Layer:
    if not first:
        raise UserError(
            f"layer {str(address)!r}: {type(module).__name__} does not compute its attention by PyTorch's scaled dot "
            "product, so that its parts cannot be read"
        )
    shapes = {shape for shape, _ in first}
    if len(shapes) > 1:
        raise UserError(
            f"layer {str(address)!r} has states of different shapes in one run of the network, "
            f"{' and '.join(str(list(shape[1:])) for shape in sorted(shapes))}; name the layers inside of it"
        )
    (shape, dtype), (other, _) = first[0], second[0]
    has_rows = shape[:1] == (2,) and other[:1] == (3,) and shape[1:] == other[1:]
    return layer_of(module, address, shape[1:] if has_rows else None, dtype, len(first))
