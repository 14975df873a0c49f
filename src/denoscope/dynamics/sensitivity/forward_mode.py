"""PyTorch's forward-mode differentiation: its preparation, and rules for what it cannot do or does slowly."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ADD, SUBTRACT = torch.Tensor.add, torch.Tensor.sub
LINEAR: Mapping[Any, tuple[int, ...]] = {
    ADD: (0, 1),
    SUBTRACT: (0, 1),
    torch.Tensor.mul: (0, 1),
    torch.Tensor.div: (0,),
    functional.linear: (0,),
}
"""The arguments in which a function is linear, up to a constant, while the others are constants."""


@functools.cache
def prepare_forward_mode() -> None:
    """Load PyTorch's forward-mode decompositions, which it does at first use, with its deprecation warnings silenced."""
    with warnings.catch_warnings(action="ignore"), forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


class ForwardRules(TorchFunctionMode):
    """Rules of differentiation besides PyTorch's own.

    The input of group norms is made contiguous, without which PyTorch has no forward derivative of them. Arithmetic with
    constants is differentiated here: PyTorch gives a constant a tangent of zeros and finds the shape of each product with
    it in Python, which takes longer than a small network. The derivatives are the same to the bit.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.group_norm:
            args = (args[0].contiguous(), *args[1:])
        elif func in LINEAR and not kwargs and (place := _only_dual(args)) in LINEAR[func]:
            return _linear(func, args, place)
        return func(*args, **(kwargs or {}))


def _only_dual(args: tuple[Any, ...]) -> int | None:
    """The place of the argument with a tangent, if exactly one has one."""
    places = [
        place
        for place, value in enumerate(args)
        if isinstance(value, torch.Tensor) and forward_ad.unpack_dual(value).tangent is not None
    ]
    return places[0] if len(places) == 1 else None


def _linear(func: Any, args: tuple[Any, ...], place: int) -> torch.Tensor:
    """func(*args), linear in the argument at `place`, which alone has a tangent."""
    primal, tangent = forward_ad.unpack_dual(args[place])
    value = func(*args[:place], primal, *args[place + 1 :])
    if func is functional.linear:
        slope = functional.linear(tangent, args[1])
    elif func is ADD or func is SUBTRACT:
        sign = -1 if func is SUBTRACT and place == 1 else 1
        # A copy: the sum may be changed in place, and with it its tangent.
        slope = (sign * tangent).to(value.dtype).expand_as(value).contiguous()
    else:
        slope = func(*args[:place], tangent, *args[place + 1 :])
    return forward_ad.make_dual(value, slope)
