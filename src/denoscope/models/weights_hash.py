"""SHA-256 over weights and other values of a network."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all weights and buffers of a network."""
    return values_sha256(network.state_dict())


def values_sha256(values: Mapping[str, Any]) -> str:
    """SHA-256 over tensors, and over what modules return as their extra state, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(values.items()):
        for part in _parts(name, value):
            digest.update(part)
    return digest.hexdigest()


def _parts(name: str, value: Any) -> Iterator[bytes]:
    """The bytes that stand for a value: of a tensor, a plain value, or a mapping or sequence of them."""
    if isinstance(value, torch.Tensor):
        yield f"{name} {value.dtype} {tuple(value.shape)}".encode()
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _parts(f"{name}.{key}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _parts(f"{name}.{index}", item)
    elif isinstance(value, io.BytesIO):
        yield f"{name} ".encode() + value.getvalue()
    else:
        # The repr of any other object may hold its address, which differs from process to process.
        plain = value is None or isinstance(value, (bool, int, float, str, bytes))
        yield f"{name} {value!r}".encode() if plain else f"{name} {type(value).__qualname__}".encode()
