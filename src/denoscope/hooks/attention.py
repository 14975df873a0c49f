"""The inside of an attention module: queries, keys, values and the weights of its softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Visitor = Callable[[torch.Tensor], torch.Tensor | None]
"""Sees a value, and returns None or the tensor that replaces it."""
Visitors = Mapping[str, Sequence[Visitor]]
"""The visitors of each part: "q", "k", "v" and "probs"."""


class AttentionMode(TorchFunctionMode):
    """Shows visitors what attention modules pass to PyTorch's scaled dot product.

    They see queries and keys as they are multiplied: after norms and rotary embeddings, whatever the module's
    processor. Weights are computed in addition to the fused kernel, which still computes the result unless a visitor
    changes them.

    Args:
        visitors: by the paths of modules.
        is_live: whether the present call of the network is the one to visit.

    The mode is active while one of these modules is being called, and only then: an active mode keeps PyTorch from its
    fused kernels, such as those of `nn.TransformerEncoderLayer`, which give other bits.
    """

    def __init__(self, visitors: Mapping[str, Visitors], is_live: Callable[[], bool]):
        super().__init__()
        self.visitors, self._is_live = visitors, is_live
        self._calls: list[str] = []
        """The visited modules that are being called, by path, the innermost last."""

    def enter(self, path: str) -> None:
        """Note that a call of a module begins."""
        if not self._calls:
            self.__enter__()
        self._calls.append(path)

    def leave(self, path: str) -> None:
        """Note that a call of a module ends."""
        if self._calls and self._calls[-1] == path:  # it is not if another hook failed before `enter`
            self._calls.pop()
            if not self._calls:
                self.__exit__(None, None, None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.scaled_dot_product_attention and self._is_live():
            return _attend(self.visitors[self._calls[-1]], *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attend(
    visitors: Visitors,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *rest: Any,
    **options: Any,
) -> torch.Tensor:
    """The scaled dot product of [row, head, token, feature], with each part shown to its visitors."""
    query = _visited(visitors.get("q", ()), query)
    key = _visited(visitors.get("k", ()), key)
    value = _visited(visitors.get("v", ()), value)
    if visitors.get("probs"):
        options |= dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
        rest = ()
        weights = attention_weights(query, key, **options)
        changed = _visited(visitors["probs"], weights)
        if changed is not weights:
            return changed.to(value.dtype) @ _repeated(value, query)
    return functional.scaled_dot_product_attention(query, key, value, *rest, **options)


def _visited(visitors: Sequence[Visitor], value: torch.Tensor) -> torch.Tensor:
    """The value after all visitors; the same object if none replaced it."""
    for visitor in visitors:
        replacement = visitor(value)
        value = value if replacement is None else replacement
    return value


def attention_weights(
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    attn_mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_others: Any,
) -> torch.Tensor:
    """softmax(q kᵀ·scale + mask), [row, head, query, key], computed in at least float32, in the dtype of `query`.

    `scale` is 1/√feature unless given. A boolean mask is true where a query may attend.
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
    """Keys or values with as many heads as the queries, for queries that share them in groups."""
    return shared.repeat_interleave(query.shape[-3] // shared.shape[-3], -3)
