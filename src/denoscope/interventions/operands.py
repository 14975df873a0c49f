"""The values that interventions write: numbers, lists, tensors, and the files that hold them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError

FILES = (".pt", ".npy", ".safetensors")
WORDS = ("zero", "mean")
MOST_INLINE = 4096  # numbers that a plan spells out


def is_path(value: Any) -> bool:
    """Whether a value is the path of a file or recording, and not one of the words that stand for a value."""
    return isinstance(value, str) and value not in WORDS


def plain(value: Any) -> Any:
    """The value as None, a number, a text, a nested list or a tensor on the CPU."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, tuple):
        return list(value)
    return value


def as_plain(value: Any, folder: Path | None = None) -> Any:
    """The value as JSON; a tensor of many numbers by its shape and SHA-256.

    A path is absolute, or relative to `folder` where it lies inside of it.
    """
    if isinstance(value, torch.Tensor):
        return value.tolist() if value.numel() <= MOST_INLINE else told(value)
    if not is_path(value):
        return value
    path = Path(value).absolute()
    inside = folder is not None and path.is_relative_to(folder.absolute())
    return str(path.relative_to(folder.absolute())) if folder is not None and inside else str(path)


def told(tensor: torch.Tensor) -> dict[str, Any]:
    """Shape and SHA-256 of a tensor's numbers, in double precision: the same for a list and a file."""
    return {"shape": list(tensor.shape), "sha256": tensor_files.sha256(tensor.double())}


def load(value: Any) -> torch.Tensor:
    """The numbers of a value other than a recording, in floating point.

    Raises: UserError if there are none, or one is not finite.
    """
    found = _read(Path(value)) if isinstance(value, str) else value
    try:
        tensor = found if isinstance(found, torch.Tensor) else torch.tensor(found, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"the value {found!r} is no number, nor a regular list of numbers") from error
    if tensor.is_complex() or tensor.numel() == 0 or not tensor.isfinite().all():
        kind = f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
        raise UserError(f"a value {kind} is empty, complex or not finite; needed are finite real numbers")
    return tensor if tensor.is_floating_point() else tensor.double()


def _read(path: Path) -> Any:
    if path.suffix == ".pt":
        return tensor_files.load(path)
    if path.suffix == ".safetensors":
        named = tensor_files.load_safetensors(path)
        if len(named) != 1:
            raise UserError(
                f"{path} holds {len(named)} tensors ({', '.join(named)}); needed is a file of one"
            )
        return next(iter(named.values()))
    if path.suffix != ".npy":
        raise UserError(f"{path} is no file of a tensor; allowed: {', '.join(FILES)}")
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}; write it with np.save(path, array)") from error


def fitted(value: torch.Tensor, written: Sequence[int], channel: int, where: str) -> torch.Tensor:
    """A value with an axis for each of `written`, the shape of what is written of one sample's state.

    One list of numbers goes along axis `channel`.

    Raises: UserError with both shapes if it does not fit, naming `where`.
    """
    shape = list(value.shape)
    if value.ndim == 1:
        shape = [1] * len(written)
        shape[channel] = len(value)
    elif value.ndim == 0:
        shape = [1] * len(written)
    if len(shape) != len(written) or any(a not in (1, b) for a, b in zip(shape, written, strict=True)):
        raise UserError(
            f"{where}: a value of shape {list(value.shape)} does not fit a state of which {list(written)} is "
            f"written; allowed: a number, {written[channel] if written else 1} numbers along the channels, or that "
            "shape with any axis 1"
        )
    return value.reshape(shape)
