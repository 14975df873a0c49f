"""A network as runs need it while they compute, and as its owner left it before and after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import nn

from denoscope.models.families import dtype_of

AUTOCAST = ("cpu", "cuda")
"""The kinds of devices on which a caller's autocast would change the precision."""

outside_inference_mode = torch.inference_mode(False)
"""Decorates functions that take derivatives, or make weights for them: what a caller's inference mode computes has none."""


class Running:
    """A context in which a network computes: in eval mode, frozen, on one device and in one precision.

    A block of `torch.autocast` around it has no effect on the network; one inside the network has.

    Gradient checkpointing of diffusers' and transformers' modules is switched off. It would call layers again in the
    backward pass, where nothing is written into their states; `gradient` repeats whole calls instead.

    On exit every module and every parameter is the one that was there before, in the state that it had. The context
    can be entered again, also inside itself. Runs that take turns, such as two generators, enter it for one step at a
    time, so that neither sees what the other needs. Runs in several threads share what is changed, until the last of them
    exits; they must have the same device and precision. The modules and parameters are listed on the first entry: none may
    be added or replaced before the last exit.

    Weights on another device or in another precision are copied there on the first entry, and the copies stand in for
    them until the exit. No other weights are copied.
    """

    def __init__(
        self, network: nn.Module, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ):
        self._network, self._device, self._dtype = network, device, dtype

    @property
    def entered(self) -> bool:
        """Whether this thread is inside of the context."""
        return any(context is self for context, _ in _LOCAL.entries)

    def __enter__(self) -> Self:
        network = id(self._network)
        with ExitStack() as stack:
            if not self.entered:
                stack.enter_context(_shared((network, self._device, self._dtype), self._put_stand_ins))
                stack.enter_context(_shared((network, "flags"), lambda: _switched_off(self._parts)))
            stack.enter_context(_without_autocast())
            _LOCAL.entries.append((self, stack.pop_all()))
        return self

    def __exit__(self, *_: object) -> None:
        place = max(k for k, (context, _) in enumerate(_LOCAL.entries) if context is self)
        _LOCAL.entries.pop(place)[1].close()

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision in which the network computes, looked up once: diffusers' networks search all modules for it."""
        return self._dtype or dtype_of(self._network)

    @cached_property
    def _parts(self) -> _Parts:
        """The modules and parameters, listed once for all steps of a run."""
        return _Parts.of(self._network)

    @cached_property
    def _stand_ins(self) -> dict[_Place, tuple[torch.Tensor, torch.Tensor]]:
        """Each parameter or buffer that has to be elsewhere, by its place, and the copy that replaces it."""
        if self._device is None and self._dtype is None:
            return {}
        copies: dict[torch.Tensor, torch.Tensor] = {}
        places = {}
        # Autograd cannot save tensors that were made in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            for place, original in _tensors(self._network):
                if original not in copies:
                    copies[original] = self._moved(original)
                if copies[original] is not original:
                    places[place] = original, copies[original]
        return places

    def _put_stand_ins(self) -> ExitStack:
        with ExitStack() as stack:
            for place, (original, stand_in) in self._stand_ins.items():
                stack.callback(place.put, original)
                place.put(stand_in)
            return stack.pop_all()

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)
        if moved is tensor or not isinstance(tensor, nn.Parameter):
            return moved
        return nn.Parameter(moved, requires_grad=False)


@dataclass(frozen=True, eq=False)
class _Parts:
    """The modules and parameters of a network, and those modules that can checkpoint gradients."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]
    checkpointing: list[Any]

    @classmethod
    def of(cls, network: nn.Module) -> _Parts:
        modules = list(network.modules())
        checkpointing = [module for module in modules if hasattr(module, "gradient_checkpointing")]
        return cls(modules, list(network.parameters()), checkpointing)


class _Place:
    """A name in a module's table of parameters or buffers."""

    def __init__(self, table: dict[str, Any], name: str):
        self._table, self._name = table, name

    def put(self, tensor: torch.Tensor) -> None:
        self._table[self._name] = tensor


def _tensors(network: nn.Module) -> Iterator[tuple[_Place, torch.Tensor]]:
    """Every parameter and buffer with its place; a shared one has several."""
    for module in network.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    yield _Place(table, name), tensor


class _Local(threading.local):
    def __init__(self) -> None:
        self.entries: list[tuple[Running, ExitStack]] = []
        """The contexts that this thread has entered, and what ends them, the innermost last."""


@dataclass
class _Change:
    """A change of a network, what ends it, and how many runs need it."""

    end: ExitStack
    needed_by: int = 0


_LOCAL = _Local()
_LOCK = threading.RLock()
_CHANGES: dict[Hashable, _Change] = {}
"""The changes of networks that runs need now, in any thread."""


@contextmanager
def _shared(name: Hashable, make: Callable[[], ExitStack]) -> Iterator[None]:
    """A change that lasts while the block runs, and while other blocks with the same name do.

    Args:
        make: makes the change, and returns what ends it.
    """
    with _LOCK:
        if name not in _CHANGES:
            _CHANGES[name] = _Change(make())
        _CHANGES[name].needed_by += 1
    try:
        yield
    finally:
        with _LOCK:
            _CHANGES[name].needed_by -= 1
            if not _CHANGES[name].needed_by:
                _CHANGES.pop(name).end.close()


@contextmanager
def _without_autocast() -> Iterator[None]:
    with ExitStack() as stack:
        for kind in filter(torch.is_autocast_enabled, AUTOCAST):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _switched_off(parts: _Parts) -> ExitStack:
    """Switch training, checkpointing and gradients off, and return what switches on again what was on."""
    # Flags are set one by one, since `train` and `eval` of a module may do more than set them.
    training = [module for module in parts.modules if module.training]
    # Inference tensors refuse to be changed, and no gradient reaches them.
    learning = [p for p in parts.parameters if p.requires_grad and not p.is_inference()]
    checkpointing = [module for module in parts.checkpointing if module.gradient_checkpointing is True]
    with ExitStack() as stack:
        stack.callback(_set_flags, training, checkpointing, learning, True)
        _set_flags(training, checkpointing, learning, False)
        return stack.pop_all()


def _set_flags(
    training: list[nn.Module], checkpointing: list[Any], learning: list[nn.Parameter], value: bool
) -> None:
    for module in training:
        module.training = value
    for module in checkpointing:
        module.gradient_checkpointing = value
    for parameter in learning:
        parameter.requires_grad_(value)
