"""How a device computes: the same way every time, at full precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

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
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    former = (
        torch.are_deterministic_algorithms_enabled(),
        cudnn.benchmark,
        cudnn.deterministic,
        cudnn.allow_tf32,
        matmul.allow_tf32,
    )
    _set(True, False, True, tf32, tf32)
    try:
        yield
    finally:
        _set(*former)


def _set(algorithms: bool, benchmark: bool, deterministic: bool, cudnn_tf32: bool, matmul_tf32: bool) -> None:
    torch.use_deterministic_algorithms(algorithms)
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.allow_tf32 = cudnn_tf32
    torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
