"""States of any dtype: what stands for a missing one, and all of them in double precision."""

from __future__ import annotations

import torch


def missing_value(dtype: torch.dtype) -> float:
    """The value of a state that was not computed: NaN, or 0 if the dtype has no NaN."""
    return torch.nan if dtype.is_floating_point or dtype.is_complex else 0


def in_double(states: torch.Tensor) -> torch.Tensor:
    """The numbers of states [n, …] in double precision [n, number]; a complex number counts as two, its parts."""
    return (torch.view_as_real(states) if states.is_complex() else states).flatten(1).double()
