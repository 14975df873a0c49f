"""Visitors at addresses of a network: they see each value that passes, and may put another in its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import ATTENTION, Address
from denoscope.hooks.attention import Attending, Visitor


@contextmanager
def visiting(network: nn.Module, visits: Sequence[tuple[Address, Visitor]]) -> Iterator[None]:
    """Let the visitors see what passes at their addresses, one after the other where they share one.

    A visitor gets the tensor and answers None, or another tensor that takes its place. No hook outlives the
    block.

    Raises: UserError in the call that has no tensor at an address.
    """
    modules = dict(network.named_modules())
    with ExitStack() as stack:
        inside = [(address, visitor) for address, visitor in visits if address.what in ATTENTION]
        if inside:
            mode = Attending(_by_module(inside))
            for path in mode.visitors:
                _follow(stack, modules[path], path, mode.inside)
            stack.enter_context(mode)
        for address, visitor in visits:
            if address.what in _PLACES:
                for handle in _PLACES[address.what](modules[address.path], address, visitor):
                    stack.callback(handle.remove)
        yield


def _by_module(visits: Sequence[tuple[Address, Visitor]]) -> dict[str, dict[str, list[Visitor]]]:
    found: dict[str, dict[str, list[Visitor]]] = {}
    for address, visitor in visits:
        found.setdefault(address.path, {}).setdefault(address.what, []).append(visitor)
    return found


def _follow(stack: ExitStack, module: nn.Module, path: str, inside: list[str]) -> None:
    """Keep `path` on the stack `inside` while the module is being called, also when it fails."""
    before = module.register_forward_pre_hook(lambda *_: inside.append(path))
    after = module.register_forward_hook(lambda *_: inside.pop() and None, always_call=True)
    stack.callback(before.remove)
    stack.callback(after.remove)


def _at_output(module: nn.Module, address: Address, visitor: Visitor) -> list[Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        return _visited(output, address, visitor)

    return [module.register_forward_hook(hook)]


def _at_input(module: nn.Module, address: Address, visitor: Visitor) -> list[Any]:
    def hook(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        found = _visited((*args, *kwargs.values()), address, visitor)
        if found is None:
            return None
        return found[: len(args)], dict(zip(kwargs, found[len(args) :], strict=True))

    return [module.register_forward_pre_hook(hook, with_kwargs=True)]


def _at_difference(module: nn.Module, address: Address, visitor: Visitor) -> list[Any]:
    # A stack, since a module may be called inside of itself.
    came_in: list[torch.Tensor] = []

    def note(value: torch.Tensor) -> None:
        came_in.append(value.clone())

    def compare(value: torch.Tensor) -> None:
        before = came_in.pop()
        if before.shape != value.shape:
            raise UserError(
                f"layer {str(address)!r}: its output {list(value.shape)} has another shape than its input "
                f"{list(before.shape)}; record both, with {address.path}:in"
            )
        visitor(value - before)

    return [*_at_input(module, address, note), *_at_output(module, address, compare)]


_PLACES: Mapping[str, Callable[[nn.Module, Address, Visitor], list[Any]]] = {
    "out": _at_output,
    "in": _at_input,
    "diff": _at_difference,
}


def _visited(values: Any, address: Address, visitor: Visitor) -> Any | None:
    """The values with the visitor's answer in the place of the tensor it saw, None where it gave none."""
    if address.index is not None:
        if not isinstance(values, (tuple, list)) or address.index >= len(values):
            count = len(values) if isinstance(values, (tuple, list)) else 1
            raise UserError(f"layer {str(address)!r}: there are {count} elements, counted from 0")
        part = _first(values[address.index], visitor)
        found = None if part is None else (part[0], _put(values, address.index, part[1]))
    else:
        found = _first(values, visitor)
    if found is None:
        raise UserError(f"layer {str(address)!r} has no tensor there that could be recorded")
    answered, changed = found
    return changed if answered else None


def _first(value: Any, visitor: Visitor) -> tuple[bool, Any] | None:
    """Show the first tensor inside of `value`: whether there was an answer, and `value` with it in place.

    None where there is no tensor.
    """
    if isinstance(value, torch.Tensor):
        answer = visitor(value)
        return (False, value) if answer is None else (True, answer)
    if isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            if (found := _first(item, visitor)) is not None:
                return found[0], _put(value, place, found[1])
    elif isinstance(sample := getattr(value, "sample", None), torch.Tensor):
        answer = visitor(sample)
        if answer is None:
            return False, value
        value = copy.copy(value)
        value.sample = answer
        return True, value
    return None


def _put(values: Any, place: int, item: Any) -> Any:
    """A tuple or list with another item in one place."""
    items = [*values[:place], item, *values[place + 1 :]]
    return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)
