"""Missing values and double precision for states of any dtype."""

from __future__ import annotations

import numpy as np
import torch


def missing_value(dtype: torch.dtype) -> float:
    """The value of a state that was not computed: NaN, or 0 if the dtype has no NaN."""
    return torch.nan if dtype.is_floating_point or dtype.is_complex else 0


def in_double(states: torch.Tensor) -> torch.Tensor:
    """States [n, …] in double precision as [n, number]; the parts of a complex number are two numbers."""
    return (torch.view_as_real(states) if states.is_complex() else states).flatten(1).double()


def widened(values: np.ndarray) -> np.ndarray:
    """The values in double precision; complex ones stay complex."""
    return values.astype(np.promote_types(values.dtype, np.float64))


def torch_dtype(dtype: np.dtype) -> torch.dtype:
    """PyTorch's dtype of the same name."""
    same_name = getattr(torch, str(dtype))
    assert isinstance(same_name, torch.dtype)
    return same_name
