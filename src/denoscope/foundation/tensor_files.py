"""Reading and writing of tensor files: .pt files with one tensor, and .safetensors files."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives
from denoscope.foundation.reading.regular_files import open_regular, why_no_file
from denoscope.foundation.writing.atomic_files import write_output

DTYPES = (
    "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
"""The dtypes of tensors in files: those that NumPy has, and bfloat16."""


def load(path: str | Path, *, mmap: bool = False) -> torch.Tensor:
    """The dense tensor in a .pt file, on the CPU.

    Args:
        mmap: read values from the file when they are used, if the format of the file allows it.

    Raises: UserError naming the file if it is missing, damaged, not a tensor, or a pickle that would run code; such code
        is never run.
    """
    path = Path(path)
    if problem := why_no_file(path):
        raise UserError(f"cannot read {path}: {problem}; name a .pt file that holds one tensor")
    try:
        value, size = _read(path, mmap), path.stat().st_size
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise UserError(
            f"cannot read {path}: not a tensor file, or damaged, or a pickle that would run code (refused); "
            "write it again with torch.save(tensor, path)"
        ) from error
    if problem := _unusable(value, size):
        raise UserError(f"{path} holds {problem}; write it with torch.save(tensor, path)")
    return value.detach().resolve_conj().resolve_neg().contiguous()  # type: ignore[attr-defined]


def _unusable(value: object, size: int) -> str:
    """Why the content of a file of `size` bytes is not one dense tensor of numbers; empty if it is."""
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}, not one dense tensor"
    if value.is_nested or value.layout != torch.strided or value.is_meta or value.is_quantized:
        kinds = {"nested": value.is_nested, "meta": value.is_meta, "quantized": value.is_quantized}
        kind = next((name for name, holds in kinds.items() if holds), str(value.layout))
        return f"a {kind} tensor, not one dense tensor"
    name = name_of(value.dtype)
    if name not in DTYPES:
        return f"a tensor of {name}; allowed: {', '.join(DTYPES)}"
    if (needed := value.numel() * value.element_size()) > size + archives.ALLOWANCE:
        return (
            f"a tensor {list(value.shape)} whose values overlap: it takes {format_bytes(needed)}, the file has "
            f"{format_bytes(size)}"
        )
    return ""


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors file by name.

    Raises: UserError naming the file if it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        open_regular(path).close()
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot read {path}: {reason}; name a .safetensors file") from error


def save(tensor: torch.Tensor, path: str | Path) -> None:
    """Write one tensor to a .pt file; `path` is replaced when the new file is complete.

    Raises: UserError naming the file if it cannot be written.
    """
    # torch.save of a view would write the whole tensor behind it.
    copied = tensor.detach().clone(memory_format=torch.contiguous_format)
    with write_output(path) as file:
        try:
            torch.save(copied, file)
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
    with open_regular(path) as file:
        archives.check_unpacked(file, path)
    with warnings.catch_warnings():
        # PyTorch warns about a pickle before it refuses it, and about quantized tensors; `load` reports both itself.
        warnings.simplefilter("ignore")
        if mmap:
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:
                pass  # files of PyTorch before 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)
