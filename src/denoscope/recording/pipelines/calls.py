"""The calls that a pipeline makes of its network, with what passed at the chosen addresses in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.hooks.addresses import Address
from denoscope.hooks.attention import Visitor
from denoscope.hooks.hooks import visiting
from denoscope.hooks.module_survey import first_tensor, is_called


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a network that put out `rows` rows.

    `states` maps an address to what was read there, [row, …] for each time that something passed.
    """

    rows: int
    class_labels: torch.Tensor | None
    states: Mapping[str, Sequence[torch.Tensor]]


class Calls:
    """The calls that a network has answered since they were last taken.

    While `reading` is false, calls are noted without states.
    """

    def __init__(self, network: nn.Module, addresses: Sequence[Address]):
        self.network, self.addresses = network, addresses
        self.reading = True
        self._made: list[Call] = []
        self._states: dict[str, list[torch.Tensor]] = {}
        self._worked: dict[str, bool] = {}
        self._composed: set[str] = set()

    @contextmanager
    def noted(self, before: Callable[[], None]) -> Iterator[None]:
        """Note all calls while the block runs; `before` is called in front of each and may refuse it."""

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

    def taken(self) -> list[Call]:
        """The calls since the last time, which are forgotten here."""
        made, self._made = self._made, []
        return made

    def _end(self, _module: nn.Module, _args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        found, labels = first_tensor(output), kwargs.get("class_labels")
        self._made.append(Call(0 if found is None else len(found), labels, self._states))
        self._states = {}

    def _reader(self, address: Address) -> Visitor:
        def read(value: torch.Tensor) -> None:
            worked = self._worked[address.path]
            if worked:
                self._composed.add(address.path)
            passed_by = not worked and address.path in self._composed and address.what in ("out", "diff")
            if self.reading and not passed_by:
                copied = value.detach().clone(memory_format=torch.contiguous_format)
                self._states[str(address)].append(copied)

        return read

    def _follow(self, stack: ExitStack, path: str) -> None:
        """Note whether a module works or lets something else answer for it.

        diffusers' caches put their own function in the place of a module's, behind PyTorch's hooks; then none of
        its parts is called.
        """
        module = self.network.get_submodule(path)
        self._worked[path] = False
        handles = [module.register_forward_pre_hook(lambda *_: self._worked.__setitem__(path, False))]
        handles += [
            part.register_forward_pre_hook(lambda *_: self._worked.__setitem__(path, True))
            for part in _parts(module)
        ]
        for handle in handles:
            stack.callback(handle.remove)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The nearest modules inside of one that can be called."""
    for child in module.children():
        if is_called(child):
            yield child
        else:
            yield from _parts(child)
