"""PyTorch's forward-mode differentiation: its preparation, and what it needs of group norms."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@functools.cache
def prepare_forward_mode() -> None:
    """Load PyTorch's forward-mode decompositions, which it does at first use, with its deprecation warnings silenced."""
    with warnings.catch_warnings(action="ignore"), forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


class ContiguousGroupNorm(TorchFunctionMode):
    """Makes the input of group norms contiguous, without which PyTorch has no forward derivative of them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.group_norm:
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))
