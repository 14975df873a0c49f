"""What this machine makes of a network: the hash of its output for fixed noises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from denoscope.models import matmul_precision
from denoscope.models.denoiser import Denoiser
from denoscope.models.weights_hash import values_sha256


def probe_sha256(denoiser: Denoiser, rows: int, inputs: Mapping[str, Any], *, tf32: bool = False) -> str:
    """SHA-256 of the network's output for `rows` fixed noises at timestep 0.

    It differs wherever the code of the network, the kernels of the processor, or a setting of PyTorch or its
    libraries changes a bit, none of which has a name that could be compared.

    Args:
        inputs: the network's further inputs, their first row for all noises; zeros for those that are left out.
    """
    noise = torch.randn(rows, *denoiser.shape, generator=torch.Generator().manual_seed(0))
    x = noise.to(device=denoiser.device, dtype=denoiser.dtype)
    with torch.inference_mode(), matmul_precision.exact(denoiser.device, tf32=tf32):
        return values_sha256({"output": denoiser.example_call(x, inputs)})
