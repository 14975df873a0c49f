"""Tensors in files: a .pt file with one tensor, read without running code and written atomically; .safetensors."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.writing.atomic_files import write_output


def load(path: str | Path, *, mmap: bool = False) -> torch.Tensor:
    """The dense tensor in a .pt file, on the CPU.

    Args:
        mmap: read values from the file when they are used, if the format of the file allows it.

    Raises: UserError naming the file if it is missing, damaged, not a tensor, or a pickle that would run code; such code
        is never run.
    """
    path = Path(path)
    if not path.is_file():
        problem = "it is a folder" if path.is_dir() else "no such file"
        raise UserError(f"cannot read {path}: {problem}; name a .pt file that holds one tensor")
    try:
        value = _read(path, mmap)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise UserError(
            f"cannot read {path}: not a tensor file, or damaged, or a pickle that would run code (refused); "
            "write it again with torch.save(tensor, path)"
        ) from error
    if not isinstance(value, torch.Tensor):
        kind = f"a {type(value).__name__}"
    elif other := _other_kind(value):
        kind = f"a {other} tensor"
    else:
        return value.detach()
    raise UserError(f"{path} holds {kind}, not one dense tensor; write it with torch.save(tensor, path)")


def _other_kind(tensor: torch.Tensor) -> str:
    """The kind of a tensor that is not dense; empty for a dense tensor."""
    if tensor.layout != torch.strided:
        return str(tensor.layout)
    return "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else ""


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors file by name.

    Raises: UserError naming the file if it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot read {path}: {reason}; name a .safetensors file") from error


def save(tensor: torch.Tensor, path: str | Path) -> None:
    """Write one tensor to a .pt file; `path` is replaced when the new file is complete.

    Raises: UserError naming the file if it cannot be written.
    """
    # torch.save of a view would write the whole tensor behind it.
    own = tensor.detach().clone(memory_format=torch.contiguous_format)
    with write_output(path) as file:
        try:
            torch.save(own, file)
        except RuntimeError as error:
            # PyTorch's archive writer hides the system's error, such as a full disk, behind its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def sha256(tensor: torch.Tensor) -> str:
    """The SHA-256 of a tensor's values in their own precision."""
    # As bytes, because NumPy lacks bfloat16.
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


def _read(path: Path, mmap: bool) -> object:
    with warnings.catch_warnings():
        # PyTorch warns about a pickle before it refuses it, and about quantized tensors; `load` reports both itself.
        warnings.simplefilter("ignore")
        if mmap:
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:
                pass  # files of PyTorch before 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)
