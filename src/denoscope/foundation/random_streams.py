"""Random streams that never depend on how many samples there are or how they are batched."""

from __future__ import annotations

import hashlib

import torch

STREAMS = 2**32  # the CPU generator of PyTorch reads the low 32 bits of a seed


def stream_seed(purpose: str, seed: int, index: int = 0) -> int:
    """The seed of draw `index` for one purpose; `torch.Generator().manual_seed(it)` repeats the draw.

    Draws of one purpose and seed never share a stream (their seeds are consecutive); two purposes or two
    seeds start far apart, so that seed 42 and seed 43 have no samples in common.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") + index) % STREAMS


def generator(purpose: str, seed: int, index: int = 0) -> torch.Generator:
    """A fresh CPU generator for one draw; on the CPU so that every device sees the same numbers."""
    return torch.Generator("cpu").manual_seed(stream_seed(purpose, seed, index))
