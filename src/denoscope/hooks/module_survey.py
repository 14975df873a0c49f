"""The modules of a network in the order of their calls, with the shapes of their outputs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from denoscope.foundation.dtypes import STORED, is_stored, name_of
from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import Address, parse

_CONVOLUTION = "_ConvNd"
"""The class of PyTorch that all convolutions inherit from."""
_ORIGINAL = "_orig_mod"
"""Where torch.compile keeps the module that it wraps."""


@dataclass(frozen=True, repr=False)
class Layer:
    """A module, or a value at an address of it, as a dry run saw it.

    `shape` is that of one sample's state, without the batch axis; None if there is no batch axis to separate samples,
    or if calls differ in shape, as those of a shared activation do. `calls` counts calls in one run of the network,
    `elements` the values in its output, of which the first tensor is taken.
    """

    address: str
    kind: str
    shape: tuple[int, ...] | None
    dtype: torch.dtype | None
    calls: int
    elements: int = 1
    classes: tuple[str, ...] = ()
    at: Address | None = None
    """Set where `address` alone would be ambiguous, as that of a module named c[0]."""

    def __repr__(self) -> str:
        dtype = "" if self.dtype is None else f" {name_of(self.dtype)}"
        state = "not recordable" if self.shape is None else f"{list(self.shape)}{dtype}"
        calls = f", {self.calls} calls a step" if self.calls != 1 else ""
        return f"<Layer {self.address}: {self.kind}, {state}{calls}>"

    @property
    def place(self) -> Address:
        """The address, parsed."""
        return self.at or parse(self.address)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the module's class and of those it inherits from."""
        return self.classes or (self.kind,)

    @property
    def bytes(self) -> int:
        """The bytes of one sample's states in one run of the network, in the network's own precision."""
        if self.shape is None or self.dtype is None:
            return 0
        return math.prod(self.shape) * self.calls * self.dtype.itemsize

    def check_recordable(self) -> None:
        """Refuse a layer whose states no recording holds.

        Raises: UserError with the address and what is wrong with its states.
        """
        remedy = f"leave it out (!{self.address}) or name another layer"
        if self.shape is None:
            raise UserError(
                f"layer {self.address!r} has no dense tensor with one row of numbers per sample, or its shape differs between "
                f"calls; {remedy}"
            )
        if self.dtype is not None and not is_stored(self.dtype):
            raise UserError(
                f"layer {self.address!r} has states in {name_of(self.dtype)}, which recordings cannot hold; {remedy}; "
                f"allowed: {', '.join(STORED)}"
            )

    def check_derivatives(self, allowed: Sequence[torch.dtype]) -> None:
        """Refuse a layer whose states are in a dtype for which derivatives are not computed.

        Raises: UserError with the address and both dtypes.
        """
        if self.dtype is not None and self.dtype not in allowed:
            raise UserError(
                f"layer {self.address!r} has states in {name_of(self.dtype)}, whose derivatives are not computed; name another "
                f"layer; allowed: {', '.join(map(name_of, allowed))}"
            )

    @property
    def is_convolution(self) -> bool:
        return _CONVOLUTION in self.kinds or self.kind.startswith("Conv")


def first_tensor(output: Any) -> torch.Tensor | None:
    """The tensor in a module's output: itself, the first of a tuple, or the `sample` of an object."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, (tuple, list)):
        return next((found for item in output if (found := first_tensor(item)) is not None), None)
    # Not by a Protocol: torch.compile cannot trace it.
    sample = output.sample if hasattr(output, "sample") else None
    return sample if isinstance(sample, torch.Tensor) else None


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside of DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif _ORIGINAL in network._modules:
            network = network.get_submodule(_ORIGINAL)
        else:
            return network


def is_compiled(network: nn.Module) -> bool:
    """Whether the network, or a module of it, runs as a graph of torch.compile, which calls no hooks."""
    return any(
        module._compiled_call_impl is not None or _ORIGINAL in module._modules for module in network.modules()
    )


@contextmanager
def eager(compiled: bool) -> Iterator[None]:
    """Run compiled modules eagerly while the block runs."""
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def output_hooks(
    modules: Iterable[tuple[str, nn.Module]], on_output: Callable[[str, Any], None]
) -> Iterator[None]:
    """Call `on_output(address, output)` after each call that this thread makes of the modules in the block."""
    owner = threading.get_ident()

    def hook_of(address: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if threading.get_ident() == owner:
                on_output(address, output)

        return hook

    with ExitStack() as stack:
        for address, module in modules:
            stack.callback(module.register_forward_hook(hook_of(address)).remove)
        yield


def survey(network: nn.Module, run: Callable[[int], Any]) -> list[Layer]:
    """All modules in the order of their first call, from a dry run of two rows and one of three.

    Only an output whose first axis follows the number of rows has a row for each sample.

    Args:
        run: calls the network once with a batch of the given number of rows.
    """
    modules = {address: module for address, module in network.named_modules() if address}
    compiled = is_compiled(network)
    first, second = (_dry_run(modules, run, rows, compiled) for rows in (2, 3))
    return [
        layer_of(
            modules[address],
            Address(address),
            shape if second.get(address, seen)[0] == shape else None,
            dtype,
            calls,
            elements,
        )
        for address, seen in first.items()
        for shape, dtype, calls, elements in [seen]
    ]


_Seen = tuple[tuple[int, ...] | None, torch.dtype | None, int, int]


def _dry_run(
    modules: Mapping[str, nn.Module], run: Callable[[int], Any], rows: int, compiled: bool
) -> dict[str, _Seen]:
    """The output of each module in a run of `rows` rows: (shape of one row, dtype, calls, elements)."""
    seen: dict[str, _Seen] = {}

    def note(address: str, output: Any) -> None:
        tensor = first_tensor(output)
        has_rows = tensor is not None and _has_numbers(tensor) and tensor.shape[0] == rows
        shape = tuple(tensor.shape[1:]) if tensor is not None and has_rows else None
        former, _, calls, _ = seen.get(address, (shape, None, 0, 1))
        elements = len(output) if isinstance(output, (tuple, list)) else 1
        same = shape if shape == former else None
        seen[address] = (same, None if tensor is None else tensor.dtype, calls + 1, elements)

    with torch.no_grad(), eager(compiled), output_hooks(modules.items(), note):
        run(rows)
    return seen


def _has_numbers(tensor: torch.Tensor) -> bool:
    """Whether a tensor is dense and has rows of at least one number each."""
    return tensor.layout == torch.strided and tensor.ndim > 0 and tensor.numel() > 0


def layer_of(
    module: nn.Module,
    place: Address,
    shape: tuple[int, ...] | None,
    dtype: torch.dtype | None,
    calls: int,
    elements: int = 1,
) -> Layer:
    """The layer of a module at an address."""
    kinds = kinds_of(module)
    return Layer(str(place), kinds[0], shape, dtype, calls, elements, kinds, place)


def kinds_of(module: nn.Module) -> tuple[str, ...]:
    """The names of a module's class and of those it inherits from, nn.Module left out.

    PyTorch gives a parametrized module a class of its own, which is left out too.
    """
    classes = type(module).__mro__[1 if parametrize.is_parametrized(module) else 0 :]
    return tuple(
        kind.__name__ for kind in classes if issubclass(kind, nn.Module) and kind is not nn.Module
    ) or (type(module).__name__,)


def modules_of(network: nn.Module) -> list[Layer]:
    """All modules that can be called, in the order of their definition, for networks that cannot be run beforehand.

    Their shapes are unknown and their calls 0.
    """
    return [
        layer_of(module, Address(path), None, None, 0)
        for path, module in network.named_modules()
        if path and is_called(module)
    ]


def aliases_of(network: nn.Module) -> dict[str, str]:
    """The further paths of shared modules, each with the path under which the module is surveyed."""
    surveyed = {id(module): path for path, module in network.named_modules()}
    all_paths = network.named_modules(remove_duplicate=False)
    return {path: surveyed[id(module)] for path, module in all_paths if surveyed[id(module)] != path}


def is_called(module: nn.Module) -> bool:
    """Whether a module has a `forward`; a list of modules does not."""
    return type(module).forward is not nn.Module.forward


def first_and_last_convolution(layers: Iterable[Layer]) -> list[str]:
    """The addresses of the first and the last convolution, in the order of the layers.

    Raises: UserError if there is none.
    """
    # Layers that no run has seen have an unknown shape, and 0 calls.
    convolutions = [
        layer.address for layer in layers if layer.is_convolution and (layer.shape or not layer.calls)
    ]
    if not convolutions:
        raise UserError("this model has no convolution to record by default; name layers")
    return [convolutions[0], convolutions[-1]]
