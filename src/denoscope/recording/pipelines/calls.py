"""The calls that a pipeline makes of its network, with the states at the chosen addresses in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.hooks.addresses import Address
from denoscope.hooks.attention import Visitor
from denoscope.hooks.module_survey import first_tensor, is_called
from denoscope.hooks.visitors import visiting


@dataclass(frozen=True, eq=False)
class ObservedCall:
    """One call of a network, whose output has `rows` rows.

    `states` maps each address to the states that passed there, [row, …] for each time.
    """

    rows: int
    class_labels: torch.Tensor | None
    states: Mapping[str, Sequence[torch.Tensor]]


class CallObserver:
    """Collects the calls of a network until they are taken.

    While `reading` is False, calls are collected without states.
    """

    def __init__(self, network: nn.Module, addresses: Sequence[Address]):
        self.network, self.addresses = network, addresses
        self.reading = True
        self._calls: list[ObservedCall] = []
        self._states: dict[str, list[torch.Tensor]] = {}
        self._parts_called: dict[str, bool] = {}
        """Whether the present call of the module at a path has called a module inside it."""
        self._seen_with_parts: set[str] = set()

    @contextmanager
    def observing(self, before: Callable[[], None]) -> Iterator[None]:
        """Collect all calls while the block runs; `before` is called in front of each and may raise to refuse it."""

        def begin(_module: nn.Module, _args: Any) -> None:
            before()
            self._states = {str(address): [] for address in self.addresses}

        with ExitStack() as stack:
            stack.callback(self.network.register_forward_pre_hook(begin).remove)
            for path in dict.fromkeys(address.path for address in self.addresses):
                self._follow(stack, path)
            stack.enter_context(visiting(self.network, [(at, self._reader(at)) for at in self.addresses]))
            stack.callback(self.network.register_forward_hook(self._end, with_kwargs=True).remove)
            yield

    def take(self) -> list[ObservedCall]:
        """Return the calls collected since the last time, and forget them."""
        calls, self._calls = self._calls, []
        return calls

    def _end(self, _module: nn.Module, _args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        tensor, labels = first_tensor(output), kwargs.get("class_labels")
        self._calls.append(ObservedCall(0 if tensor is None else len(tensor), labels, self._states))
        self._states = {}

    def _reader(self, address: Address) -> Visitor:
        def read(value: torch.Tensor) -> None:
            computed = self._parts_called[address.path]
            if computed:
                self._seen_with_parts.add(address.path)
            bypassed = (
                not computed and address.path in self._seen_with_parts and address.what in ("out", "diff")
            )
            if self.reading and not bypassed:
                copied = value.detach().clone(memory_format=torch.contiguous_format)
                self._states[str(address)].append(copied)

        return read

    def _follow(self, stack: ExitStack, path: str) -> None:
        """Note whether the module at a path computes, or a cache answers in its place.

        diffusers' caches replace a module's function behind PyTorch's hooks; then none of its parts is called.
        """
        module = self.network.get_submodule(path)
        self._parts_called[path] = False
        handles = [module.register_forward_pre_hook(lambda *_: self._parts_called.__setitem__(path, False))]
        handles += [
            part.register_forward_pre_hook(lambda *_: self._parts_called.__setitem__(path, True))
            for part in _parts(module)
        ]
        for handle in handles:
            stack.callback(handle.remove)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules inside a module that can be called."""
    for child in module.children():
        if is_called(child):
            yield child
        else:
            yield from _parts(child)
