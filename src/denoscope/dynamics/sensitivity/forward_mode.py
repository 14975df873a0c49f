"""PyTorch's derivatives forward, made ready."""

from __future__ import annotations

import functools
import warnings

import torch
from torch.autograd import forward_ad


@functools.cache
def make_ready() -> None:
    """Let PyTorch load what derives forward, as it does at first use, without its deprecation warnings of itself."""
    with warnings.catch_warnings(action="ignore"), forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
