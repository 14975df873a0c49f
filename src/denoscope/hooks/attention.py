"""What goes on inside an attention module: queries, keys, values and the weights of its softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Visitor = Callable[[torch.Tensor], torch.Tensor | None]
Visitors = Mapping[str, Sequence[Visitor]]
"""By "q", "k", "v" and "probs"."""


class Attending(TorchFunctionMode):
    """Shows its visitors what the attention modules hand to PyTorch's scaled dot product.

    So they see queries and keys as they are multiplied, after norms and rotary embeddings, whichever
    processor a module has. Weights are computed beside the fused kernel, which still computes the result,
    unless a visitor changes them. `inside` is the stack of the modules being called, by path.
    """

    def __init__(self, visitors: Mapping[str, Visitors]):
        super().__init__()
        self.visitors = visitors
        self.inside: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.scaled_dot_product_attention and self.inside:
            return _attend(self.visitors[self.inside[-1]], *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attend(
    visitors: Visitors,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *rest: Any,
    **options: Any,
) -> torch.Tensor:
    """The scaled dot product, each of its parts [row, head, token, …] shown on the way."""
    query = _shown(visitors.get("q", ()), query)[0]
    key = _shown(visitors.get("k", ()), key)[0]
    value = _shown(visitors.get("v", ()), value)[0]
    if visitors.get("probs"):
        options |= dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
        rest = ()
        weights, changed = _shown(visitors["probs"], attention_weights(query, key, **options))
        if changed:
            return weights.to(value.dtype) @ _repeated(value, query)
    return functional.scaled_dot_product_attention(query, key, value, *rest, **options)


def _shown(visitors: Sequence[Visitor], value: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The value after all visitors have seen it, and whether one has put another in its place."""
    seen = value
    for visitor in visitors:
        answer = visitor(seen)
        seen = seen if answer is None else answer
    return seen, seen is not value


def attention_weights(
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    attn_mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_others: Any,
) -> torch.Tensor:
    """softmax(q kᵀ·scale + mask), [row, head, query, key], in at least float32, as the dtype of `query`.

    `scale` is 1/√feature unless given. A mask of booleans says where to look.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = query.to(wide) @ _repeated(key, query).to(wide).transpose(-2, -1) * scale
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1).to(query.dtype)


def _repeated(shared: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Keys or values with as many heads as the queries, where several queries share them."""
    return shared.repeat_interleave(query.shape[-3] // shared.shape[-3], -3)
