"""Random streams that depend neither on the number of samples nor on how they are batched.

`generator` seeds PyTorch's generator with a number that anyone can compute: initial noises, directions and
projections keep these documented numbers. `stream` sets the whole state of the generator from a hash, for the noise
that is drawn during a run: two such streams never overlap.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

STREAMS_VERSION = 2
"""The current version of `stream`. Stored results name the version they were drawn with; if they name none, it is 1."""
SEEDS = 2**32
"""PyTorch's CPU generator reads the low 32 bits of a seed."""
_WORDS = 624
_WORD_BYTES = slice(24, 24 + 8 * _WORDS)
"""The bytes of the Mersenne Twister's words in PyTorch's state, each a 32-bit word in 8 bytes."""


def stream_seed(purpose: str, seed: int, index: int = 0) -> int:
    """The seed of draw `index` for a purpose: `torch.Generator().manual_seed(…)` repeats the draw.

    Draws of one purpose and seed have consecutive seeds, and so never share a stream. Different purposes or seeds
    start at hashed positions among 2³² seeds, so that seeds 42 and 43 have no samples in common; across many purposes
    the ranges can overlap, which is why noise drawn during a run comes from `stream`.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") + index) % SEEDS


def generator(purpose: str, seed: int, index: int = 0) -> torch.Generator:
    """A new CPU generator for one draw; on the CPU so that every device gets the same numbers."""
    return torch.Generator("cpu").manual_seed(stream_seed(purpose, seed, index))


def stream(
    purpose: str, seed: int, index: int, *, name: str = "", version: int = STREAMS_VERSION
) -> torch.Generator:
    """A new CPU generator for the noise that a run draws at `index`, for all samples or for the sample `name`.

    SHAKE-256 of (purpose, seed, name, index) gives all 19,968 bits of the Mersenne Twister's state. Two streams
    overlap within their first 10¹² numbers with a probability below 10⁻⁵⁹⁰⁰; the probability that two keys have the
    same state is below 2⁻¹²⁸. Version 1, which denoscope 0.1 drew from, adds the index to a 32-bit hash instead:
    among 10,000 samples of 50 steps one pair is expected to share draws.

    Source: Matsumoto and Nishimura, ACM Transactions on Modeling and Computer Simulation 8, 3 (1998).
    """
    check_version(version)
    if version == 1:
        joint = ", of " if purpose.startswith("noise at ") else " of "
        return generator(f"{purpose}{joint}{name}" if name else purpose, seed, index)
    key = json.dumps(["denoscope streams 2", purpose, int(seed), name, int(index)]).encode()
    seeded = torch.Generator("cpu")
    # While torch.func differentiates a run, it wraps new tensors, which a generator cannot read.
    with torch._C._DisableFuncTorch():
        seeded.set_state(_state(hashlib.shake_256(key).digest(8 + 4 * _WORDS)))
    return seeded


def check_version(version: int) -> None:
    """Raise UserError if this denoscope does not know a version of the streams."""
    if not isinstance(version, int) or version not in (1, STREAMS_VERSION):
        raise UserError(
            f"streams is {describe(version)}; allowed: 1 or {STREAMS_VERSION}; upgrade denoscope to read a newer version"
        )


def version_of(stored: Mapping[str, Any]) -> int:
    """The version of the streams that stored numbers were drawn from, read from their attributes or fingerprint."""
    return stored.get("streams", 1)


def _state(digest: bytes) -> torch.Tensor:
    """The state of PyTorch's CPU generator that begins with the words of a digest.

    The digest's first 8 bytes become the generator's `initial_seed()`, for code that takes a seed.
    """
    state = _blank_state().clone()
    content = state.numpy()
    content[:8].view(np.uint64)[0] = int.from_bytes(digest[:8], "little")
    words = np.frombuffer(digest, "<u4", offset=8)
    content[_WORD_BYTES].view(np.uint64)[:] = words
    # The recurrence reads only the highest bit of the first word. Setting it excludes the state of all zeros.
    content[_WORD_BYTES].view(np.uint64)[0] |= 1 << 31
    return state


@functools.cache
def _blank_state() -> torch.Tensor:
    """A state from which no number has been drawn.

    Raises: RuntimeError if this PyTorch lays out states differently.
    """
    seed = 5489
    state = torch.Generator("cpu").manual_seed(seed).get_state()
    words = state.numpy()[_WORD_BYTES].view(np.uint64)
    second = (1812433253 * (seed ^ (seed >> 30)) + 1) % 2**32
    if state.numel() != 5056 or words[0] != seed or words[1] != second:
        raise RuntimeError(
            "this version of PyTorch lays out the state of its CPU generator in an unknown way"
        )
    return state
