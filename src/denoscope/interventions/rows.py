"""States row by row: the bits of a row must not depend on the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch


def each_row(state: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The state [rows, …] with each row changed by itself, in at least float32.

    The last bits of a sum over a batch depend on the number of rows.
    """
    wide = torch.promote_types(state.dtype, torch.float32)
    rows = torch.stack([change(row.to(wide).contiguous()).expand(row.shape) for row in state])
    return laid_out_as(state, rows)


def drawn_like(
    state: torch.Tensor, names: Sequence[str], streams: Mapping[str, torch.Generator]
) -> torch.Tensor:
    """Standard normal numbers in the shape of a state: one draw of each name's stream for all rows of that name."""
    wide = torch.promote_types(state.dtype, torch.float32)
    draws = {name: torch.randn(state.shape[1:], generator=streams[name], dtype=wide) for name in streams}
    return laid_out_as(state, torch.stack([draws[name] for name in names]))


def laid_out_as(state: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The numbers in a state's shape, precision and memory layout, on which the next layer's bits may depend."""
    return torch.empty_like(state).copy_(numbers.expand(state.shape))
