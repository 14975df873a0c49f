"""Deterministic algorithms and the precision of matrix products on CUDA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

WORKSPACE = ":4096:8"


def before_cuda_starts() -> None:
    """Give cuBLAS a workspace of fixed size, without which the order of its sums may vary."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)


@contextmanager
def exact(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """Deterministic algorithms, and products in full precision unless `tf32`, while the block runs on a CUDA device.

    PyTorch has these settings for the whole process; they are restored at the end. The CPU needs none of them.
    """
    if device.type != "cuda":
        yield
        return
    settings = _settings(tf32)
    former = [(place, name, getattr(place, name)) for place, name, _ in settings]
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    _set(settings)
    try:
        yield
    finally:
        _set(former)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _settings(tf32: bool) -> list[tuple[Any, str, Any]]:
    """(object, attribute, value) of each setting."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    settings: list[tuple[Any, str, Any]] = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    # PyTorch raises if its two interfaces for precision are mixed; the newer one is used if it exists.
    if hasattr(matmul, "fp32_precision"):
        precision = "tf32" if tf32 else "ieee"
        return settings + [(place, "fp32_precision", precision) for place in (matmul, cudnn.conv, cudnn.rnn)]
    return [*settings, (cudnn, "allow_tf32", tf32), (matmul, "allow_tf32", tf32)]


def _set(settings: list[tuple[Any, str, Any]]) -> None:
    for place, name, value in settings:
        setattr(place, name, value)
