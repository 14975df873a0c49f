"""Visitors at addresses of a network: they see each value that passes and may replace it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import ATTENTION, Address
from denoscope.hooks.attention import AttentionMode, Visitor
from denoscope.hooks.module_survey import eager, is_compiled

Visits = Sequence[tuple[Address, Visitor]]
IsLive = Callable[[], bool]
"""Whether hooks act on the present call."""


class VisitedNetwork:
    """A network whose calls can be visited, one call at a time.

    >>> visited = VisitedNetwork(network)
    >>> with visited.armed([(parse("mid_block"), visitor)]):
    ...     network(x, timestep)
    """

    def __init__(self, network: nn.Module):
        self._network, self._compiled = network, is_compiled(network)

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        """The modules by name, listed only if something is visited."""
        return dict(self._network.named_modules())

    @contextmanager
    def armed(self, visits: Visits) -> Iterator[None]:
        """Let the visitors see what passes at their addresses while the block calls the network.

        They see calls from this thread alone. If a visitor starts another armed call of the same network, they do not
        see that one. Calls by anyone else, in between or at the same time, are left as they are.
        """
        armed, token = _LOCAL.armed, object()
        with ExitStack() as stack:
            # Also without visitors, so that reading states changes no bit: a compiled network gives different ones.
            stack.enter_context(eager(self._compiled))
            if visits:
                _register(
                    stack, self._modules, visits, lambda: bool(_LOCAL.armed) and _LOCAL.armed[-1] is token
                )
            armed.append(token)
            stack.callback(armed.pop)
            yield

    @contextmanager
    def unguarded(self, visits: Visits) -> Iterator[None]:
        """Let the visitors see every call of the network while the block runs, whoever makes it."""
        with ExitStack() as stack:
            _register(stack, self._modules, visits, lambda: True)
            yield

    @contextmanager
    def always_armed(self, addresses: Iterable[Address]) -> Iterator[None]:
        """Refuse calls of the modules at these addresses that no visitor sees, while the block runs.

        A network that checkpoints itself makes such calls in the backward pass.
        """

        def refuse(path: str, *_: object) -> None:
            if not _LOCAL.armed:
                raise UserError(
                    f"the network calls {path!r} again in the backward pass, where nothing is written there; switch its "
                    "gradient checkpointing off: whole calls are repeated anyway"
                )

        with ExitStack() as stack:
            for path in {address.path for address in addresses}:
                hook = self._modules[path].register_forward_pre_hook(partial(refuse, path))
                stack.callback(hook.remove)
            yield


class _Local(threading.local):
    def __init__(self) -> None:
        self.armed: list[object] = []
        """A token for each armed call of this thread, the innermost last."""


_LOCAL = _Local()


@contextmanager
def visiting(network: nn.Module, visits: Visits) -> Iterator[None]:
    """Let visitors see every call of a network while the block runs, whoever makes it.

    Visitors at the same address see a value one after the other. A visitor returns None, or a tensor that replaces the
    value. All hooks are removed when the block ends.

    Raises: UserError in a call that passes no tensor at an address.
    """
    with VisitedNetwork(network).unguarded(visits):
        yield


def _register(stack: ExitStack, modules: Mapping[str, nn.Module], visits: Visits, is_live: IsLive) -> None:
    """Register hooks for all visitors, to be removed by the stack."""
    inside = [(address, visitor) for address, visitor in visits if address.what in ATTENTION]
    if inside:
        mode = AttentionMode(_by_module(inside), is_live)
        for path in mode.visitors:
            _track_calls(stack, modules[path], path, mode, is_live)
    for address, visitor in visits:
        if address.what in _REGISTER:
            _REGISTER[address.what](stack, modules[address.path], address, visitor, is_live)


def _by_module(visits: Iterable[tuple[Address, Visitor]]) -> dict[str, dict[str, list[Visitor]]]:
    by_module: dict[str, dict[str, list[Visitor]]] = {}
    for address, visitor in visits:
        by_module.setdefault(address.path, {}).setdefault(address.what, []).append(visitor)
    return by_module


def _track_calls(
    stack: ExitStack, module: nn.Module, path: str, mode: AttentionMode, is_live: IsLive
) -> None:
    """Let the mode know when the module is being called, also if the call fails."""

    def enter(_module: nn.Module, _args: Any) -> None:
        if is_live():
            mode.enter(path)

    def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
        if is_live():
            mode.leave(path)

    stack.callback(module.register_forward_pre_hook(enter).remove)
    stack.callback(module.register_forward_hook(leave, always_call=True).remove)


def _at_output(
    stack: ExitStack, module: nn.Module, address: Address, visitor: Visitor, is_live: IsLive
) -> None:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        return _visited(output, address, visitor) if is_live() else None

    stack.callback(module.register_forward_hook(hook).remove)


def _at_input(
    stack: ExitStack, module: nn.Module, address: Address, visitor: Visitor, is_live: IsLive
) -> None:
    # PyTorch passes no kwargs if another thread removes the hook while this one calls the module.
    def hook(_module: nn.Module, args: Any, kwargs: Mapping[str, Any] | None = None) -> Any:
        if not is_live() or kwargs is None:
            return None
        values = _visited((*args, *kwargs.values()), address, visitor)
        if values is None:
            return None
        return values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True))

    stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)


def _at_difference(
    stack: ExitStack, module: nn.Module, address: Address, visitor: Visitor, is_live: IsLive
) -> None:
    # A stack, since a module may call itself.
    inputs: list[torch.Tensor] = []

    def note(value: torch.Tensor) -> None:
        inputs.append(value.clone())

    def compare(value: torch.Tensor) -> None:
        before = inputs.pop()
        if before.shape != value.shape:
            raise UserError(
                f"layer {str(address)!r} has no difference: its output has shape {list(value.shape)}, its input "
                f"{list(before.shape)}; record both, with {address.path}:in"
            )
        visitor(value - before)

    _at_input(stack, module, address, note, is_live)
    _at_output(stack, module, address, compare, is_live)


_REGISTER: Mapping[str, Callable[[ExitStack, nn.Module, Address, Visitor, IsLive], None]] = {
    "out": _at_output,
    "in": _at_input,
    "diff": _at_difference,
}


def _visited(values: Any, address: Address, visitor: Visitor) -> Any | None:
    """The values with the visitor's answer in place of the tensor it saw, or None if it gave none."""
    if address.index is None:
        visit = _visit_first(values, visitor)
    else:
        _check_index(values, address, address.index)
        part = _visit_first(values[address.index], visitor)
        visit = None if part is None else (part[0], _replaced(values, address.index, part[1]))
    if visit is None:
        raise UserError(f"layer {str(address)!r} has no tensor there that could be recorded")
    answered, changed = visit
    return changed if answered else None


def _check_index(values: Any, address: Address, index: int) -> None:
    if isinstance(values, torch.Tensor):
        raise UserError(f"layer {str(address)!r} is a single tensor, not a tuple; leave out [{index}]")
    if not isinstance(values, (tuple, list)):
        raise UserError(
            f"layer {str(address)!r} is a {type(values).__name__}, not a tuple; leave out [{index}]"
        )
    if index >= len(values):
        raise UserError(
            f"layer {str(address)!r} is a tuple of {len(values)}; allowed: [0] to [{len(values) - 1}]"
        )


def _visit_first(value: Any, visitor: Visitor) -> tuple[bool, Any] | None:
    """Show the visitor the first tensor inside of `value`.

    Returns whether it answered, and `value` with the answer in place; None if there is no tensor.
    """
    if isinstance(value, torch.Tensor):
        answer = visitor(value)
        return (False, value) if answer is None else (True, answer)
    if isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            if (visit := _visit_first(item, visitor)) is not None:
                answered, changed = visit
                return answered, _replaced(value, place, changed)
    elif hasattr(value, "sample") and isinstance(value.sample, torch.Tensor):
        answer = visitor(value.sample)
        if answer is None:
            return False, value
        value = copy.copy(value)
        value.sample = answer
        return True, value
    return None


def _replaced(values: Any, place: int, item: Any) -> Any:
    """A tuple or list with another item in one place."""
    items = [*values[:place], item, *values[place + 1 :]]
    return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)
