"""How a device computes: the same way every time, at full precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

WORKSPACE = ":4096:8"


def before_cuda_starts() -> None:
    """Ask cuBLAS for a fixed workspace, without which its sums may be taken in varying order."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)


@contextmanager
def exact(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """Deterministic algorithms on a CUDA device, products in full precision unless `tf32`.

    The settings are PyTorch's own, for the whole process, and are put back at the end. The processor
    needs none of them.
    """
    if device.type != "cuda":
        yield
        return
    settings = _settings(tf32)
    former = [(place, name, getattr(place, name)) for place, name, _ in settings]
    demanded = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    _set(settings)
    try:
        yield
    finally:
        _set(former)
        torch.use_deterministic_algorithms(demanded, warn_only=only_warned)


def _settings(tf32: bool) -> list[tuple[Any, str, Any]]:
    """(place, name, value) of what decides how CUDA computes."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    settings: list[tuple[Any, str, Any]] = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    # PyTorch raises where its two ways to name a precision are mixed, so its newer one where there is one.
    if hasattr(matmul, "fp32_precision"):
        precision = "tf32" if tf32 else "ieee"
        return settings + [(place, "fp32_precision", precision) for place in (matmul, cudnn.conv, cudnn.rnn)]
    return [*settings, (cudnn, "allow_tf32", tf32), (matmul, "allow_tf32", tf32)]


def _set(settings: list[tuple[Any, str, Any]]) -> None:
    for place, name, value in settings:
        setattr(place, name, value)
