"""The values that interventions take: numbers, lists, arrays, tensors, and the files that hold them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.reading.regular_files import open_regular
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.validation import describe
from denoscope.storage.places import parse_place

FILES = (".pt", ".npy", ".safetensors")
WORDS = ("zero", "mean")
"""Strings that are values, not paths."""
LARGEST_INLINE = 4096
"""The largest number of elements that a plan spells out."""


def is_path(value: Any) -> bool:
    """Whether a value is the path of a file or recording."""
    return isinstance(value, str) and value not in WORDS


def normalized(value: Any) -> Any:
    """The value as None, a number, a text, a nested list or a tensor on the CPU."""
    check_unmasked(value, "value")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if (xarray := sys.modules.get("xarray")) and isinstance(value, xarray.DataArray):
        value = value.to_numpy()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        raise UserError(
            f"'value' of an intervention is an array of {value.dtype}; allowed: an array of real numbers"
        )
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", copy=True))
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    return list(value) if isinstance(value, tuple | range) else value


def located(value: Any) -> Any:
    """The value, a path as an absolute one: another process may have another working directory."""
    return str(Path(value).absolute()) if is_path(value) and not is_url(value) else value


def to_json(value: Any, folder: Path | None = None) -> Any:
    """The value as JSON; a tensor of many elements as its shape and SHA-256.

    A path is absolute, or relative to `folder` if it is inside of it; a URL stays.
    """
    if isinstance(value, torch.Tensor):
        return value.tolist() if value.numel() <= LARGEST_INLINE else identity(value)
    if not is_path(value):
        return value
    if is_url(value):
        return str(parse_place(value))
    path = Path(value).absolute()
    inside = folder is not None and path.is_relative_to(folder.absolute())
    return str(path.relative_to(folder.absolute())) if folder is not None and inside else str(path)


def identity(tensor: torch.Tensor) -> dict[str, Any]:
    """Shape and SHA-256 of a tensor in double precision: the same for a list and for a file of the same numbers."""
    return {"shape": list(tensor.shape), "sha256": tensor_files.sha256(tensor.double())}


def load(value: Any, where: str, *, masks: bool) -> torch.Tensor:
    """The floating-point tensor of a value that is not a recording.

    Args:
        where: the intervention, with which messages begin.
        masks: booleans count as 0 and 1.

    Raises: UserError if the value holds no numbers, or one that is not finite.
    """
    content = _read(Path(value)) if isinstance(value, str) else value
    try:
        tensor = content if isinstance(content, torch.Tensor) else torch.tensor(content, dtype=torch.float64)
    # RuntimeError: integers of many digits.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(
            f"{where}: the value is {describe(content)}; allowed: a number or a regular list of numbers"
        ) from error
    kind = name_of(tensor.dtype)
    described = f"{kind} {list(tensor.shape)}" if tensor.ndim else describe(tensor.item())
    if _holds_booleans(content) and not masks:
        raise UserError(
            f"{where}: the value is a boolean mask {list(tensor.shape)}; allowed: finite real numbers; to restrict where "
            "it applies, use channels=, heads= or tokens="
        )
    if tensor.numel() == 0 or tensor.is_complex():
        raise UserError(
            f"{where}: the value is {'complex' if tensor.numel() else 'empty'} ({described}); allowed: finite real numbers"
        )
    if wrong := int((~tensor.isfinite()).sum()):
        found = "NaN" if tensor.isnan().any() else "infinite"
        what = f"{found} in {wrong} of its {tensor.numel()} numbers" if tensor.ndim else found
        raise UserError(f"{where}: the value is {what}; allowed: finite real numbers")
    # A tensor that was made in inference mode has no derivatives, but its copy has.
    return tensor.clone() if tensor.is_floating_point() else tensor.double()


def check_dtype(value: torch.Tensor, dtype: torch.dtype | None, where: str) -> None:
    """Refuse numbers that states of a dtype cannot hold: fractions in integers, and what is too large.

    Raises: UserError beginning with `where`.
    """
    if dtype is None:
        return
    rounds, double = dtype.is_floating_point or dtype.is_complex, value.double()
    wrong = double.abs() > torch.finfo(dtype).max if rounds else double.to(dtype).double() != double
    if wrong.any():
        number = value[wrong].flatten()[0].item()
        what = f"up to {torch.finfo(dtype).max:g}" if rounds else "integers in its range"
        raise UserError(
            f"{where}: the states are {name_of(dtype)}, which cannot hold {number:g}; allowed: {what}"
        )


def _holds_booleans(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.dtype == torch.bool
    return any(map(_holds_booleans, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _read(path: Path) -> Any:
    if path.suffix == ".pt":
        return tensor_files.load(path)
    if path.suffix == ".safetensors":
        tensors = tensor_files.load_safetensors(path)
        if len(tensors) != 1:
            raise UserError(f"{path} holds {len(tensors)} tensors ({', '.join(tensors)}); allowed: one")
        return next(iter(tensors.values()))
    if path.suffix != ".npy":
        raise UserError(f"{path} is not a file of a tensor; allowed: {', '.join(FILES)}")
    try:
        with open_regular(path) as file:
            return torch.from_numpy(np.load(file, allow_pickle=False))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot read {path}: {reason}; write it with np.save(path, array)") from error


def fit(value: torch.Tensor, written: Sequence[int], channel: int, where: str) -> torch.Tensor:
    """The value with one axis for each of `written`, the shape of the written part of one sample's state.

    A list of numbers extends along axis `channel`.

    Raises: UserError with both shapes if it does not fit, beginning with `where`.
    """
    shape = list(value.shape)
    if value.ndim == 1:
        shape = [1] * len(written)
        shape[channel] = len(value)
    elif value.ndim == 0:
        shape = [1] * len(written)
    if len(shape) != len(written) or any(a not in (1, b) for a, b in zip(shape, written, strict=True)):
        channels = written[channel] if written else 1
        raise UserError(
            f"{where}: a value of shape {list(value.shape)} does not fit the written part of a state, {list(written)}; "
            f"allowed: a number, {channels} numbers along the channels, or that shape with any axis of length 1"
        )
    return value.reshape(shape)
