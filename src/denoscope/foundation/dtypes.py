"""The dtypes of states: which of them are stored, their missing values, and double precision for all of them."""

from __future__ import annotations

import numpy as np
import torch

COMPUTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The real precisions in which layers compute; narrower ones only store."""
COMPLEX = (torch.complex32, torch.complex64, torch.complex128)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""The integers in which PyTorch computes; it only stores wider unsigned ones."""
STORED = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float8", "float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128",
)  # fmt: skip
"""What recordings hold: the dtypes that NumPy has, and those that it has in a wider form; "float8" is a family."""


def name_of(kind: torch.dtype | torch.layout) -> str:
    """The name of a dtype or a layout without that of the library."""
    return str(kind).removeprefix("torch.")


def is_stored(dtype: torch.dtype) -> bool:
    """Whether recordings hold states of a dtype; they hold no quantized ones, for example."""
    return name_of(dtype).split("_")[0] in STORED


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
