"""The modules of a network by address: which there are, what they put out, and how they are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.foundation.errors import UserError


@dataclass(frozen=True)
class Layer:
    """One module, or what is read at an address of it, as a dry run saw it.

    `shape` is that of one sample's state, without the batch axis; None where there is no batch axis to tell
    samples apart, or where it is another in each call, as of an activation that is shared. `calls` counts
    calls in one run of the network, `elements` the values in its output, of which the first tensor is taken.
    """

    address: str
    kind: str
    shape: tuple[int, ...] | None
    dtype: torch.dtype | None
    calls: int
    elements: int = 1

    @property
    def bytes(self) -> int:
        """Of one sample's states of one run of the network, in the network's own precision."""
        if self.shape is None or self.dtype is None:
            return 0
        return math.prod(self.shape) * self.calls * self.dtype.itemsize


def first_tensor(output: Any) -> torch.Tensor | None:
    """The tensor in a module's output: itself, the first of a tuple, or the `sample` of an object."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return next((found for item in output if (found := first_tensor(item)) is not None), None)
    sample = getattr(output, "sample", None)
    return sample if isinstance(sample, torch.Tensor) else None


@contextmanager
def output_hooks(
    modules: Iterable[tuple[str, nn.Module]], on_output: Callable[[str, Any], None]
) -> Iterator[None]:
    """Call `on_output(address, output)` after each call of the modules; no hook outlives the block."""
    handles = []
    try:
        for address, module in modules:
            handles.append(
                module.register_forward_hook(
                    lambda _m, _args, output, address=address: on_output(address, output)
                )
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def survey(network: nn.Module, run: Callable[[int], Any]) -> list[Layer]:
    """All modules in the order of their first call, from a dry run of two rows and one of three.

    Only an output whose first axis follows the number of rows has a row for each sample.

    Args:
        run: calls the network once on a batch of the given number of rows.
    """
    named = {address: module for address, module in network.named_modules() if address}
    first, second = (_dry_run(named, run, rows) for rows in (2, 3))
    return [
        Layer(
            address,
            type(named[address]).__name__,
            shape if second.get(address, layer)[0] == shape else None,
            dtype,
            calls,
            elements,
        )
        for address, layer in first.items()
        for shape, dtype, calls, elements in [layer]
    ]


_Seen = tuple[tuple[int, ...] | None, torch.dtype | None, int, int]


def _dry_run(named: Mapping[str, nn.Module], run: Callable[[int], Any], rows: int) -> dict[str, _Seen]:
    """What each module put out for so many rows: (shape of one row, dtype, calls, elements)."""
    seen: dict[str, _Seen] = {}

    def note(address: str, output: Any) -> None:
        tensor = first_tensor(output)
        per_sample = tensor is not None and tensor.ndim > 0 and tensor.shape[0] == rows
        shape = tuple(tensor.shape[1:]) if tensor is not None and per_sample else None
        former, _, calls, _ = seen.get(address, (shape, None, 0, 1))
        elements = len(output) if isinstance(output, (tuple, list)) else 1
        same = shape if shape == former else None
        seen[address] = (same, None if tensor is None else tensor.dtype, calls + 1, elements)

    with torch.no_grad(), output_hooks(named.items(), note):
        run(rows)
    return seen


def modules_of(network: nn.Module) -> list[Layer]:
    """All modules that can be called, in the order of their definition, where no run shall be made to see more.

    Their shapes are not known, and of calls there are none yet.
    """
    return [
        Layer(address, type(module).__name__, None, None, 0)
        for address, module in network.named_modules()
        if address and is_called(module)
    ]


def is_called(module: nn.Module) -> bool:
    """Whether a module computes something itself: a list of modules does not."""
    return type(module).forward is not nn.Module.forward


def first_and_last_convolution(layers: Iterable[Layer]) -> list[str]:
    """The addresses of the first and the last convolution, in the order of the layers."""
    # Of a layer that no run has seen, nothing says that it has no row for each sample.
    convolutions = [
        layer.address
        for layer in layers
        if layer.kind.startswith("Conv") and (layer.shape or not layer.calls)
    ]
    if not convolutions:
        raise UserError("this model has no convolution to record by default; name layers (--layers)")
    return [convolutions[0], convolutions[-1]]
