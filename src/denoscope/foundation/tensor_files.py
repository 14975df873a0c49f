"""One tensor in one .pt file: read without running code, written whole or not at all."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch

from denoscope.foundation.atomic_files import replacing
from denoscope.foundation.errors import UserError


def load(path: str | Path, *, mmap: bool = False) -> torch.Tensor:
    """The dense tensor that a .pt file holds, on the CPU.

    With `mmap` the values are fetched from the file as they are used, where its format allows that.

    Raises: UserError naming the file where it is missing, damaged, not a tensor, or a pickle that asks
    for code to be run: that code is refused, never run.
    """
    path = Path(path)
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise UserError(f"cannot read {path}: {found}; name a .pt file with one tensor in it")
    try:
        value = _read(path, mmap)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise UserError(
            f"cannot read {path}: it is no tensor file, damaged, or asks for code to be run "
            "(which is refused); write it anew with torch.save(tensor, path)"
        ) from error
    if not isinstance(value, torch.Tensor) or (kind := _unlike_dense(value)):
        kind = f"a {kind} tensor" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
        raise UserError(f"{path} holds {kind}, not one dense tensor; write it with torch.save(tensor, path)")
    return value.detach()


def _unlike_dense(tensor: torch.Tensor) -> str:
    """What a tensor is instead of dense numbers; nothing where it is that."""
    if tensor.layout != torch.strided:
        return str(tensor.layout)
    return "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else ""


def load_named(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors file by their names.

    Raises: UserError naming the file where it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot read {path}: {reason}; needed is a .safetensors file") from error


def save(tensor: torch.Tensor, path: str | Path) -> None:
    """Write one tensor, its own bytes only; `path` holds the former file or the new one, never a part.

    Raises: UserError naming the file where it can't be written.
    """
    # A saved view drags the whole tensor behind it into the file.
    alone = tensor.detach().clone(memory_format=torch.contiguous_format)
    with replacing(path) as file:
        try:
            torch.save(alone, file)
        except RuntimeError as error:
            # torch's archive writer covers the system's error, say a full disk, with one of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _read(path: Path, mmap: bool) -> object:
    with warnings.catch_warnings():
        # PyTorch warns of a plain pickle before it refuses it, and of quantized tensors; what is wrong is said once.
        warnings.simplefilter("ignore")
        return _loaded(path, mmap)


def _loaded(path: Path, mmap: bool) -> object:
    if mmap:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            pass  # files of before torch 1.6 can't be mapped
    return torch.load(path, map_location="cpu", weights_only=True)


def sha256(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's numbers, in their own precision."""
    # As bytes, since NumPy has not every precision.
    numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(numbers.numpy().tobytes()).hexdigest()
