"""Noises that differ, and become equal in the precision of a run."""

from __future__ import annotations

import hashlib

import torch

from denoscope.foundation.dtypes import name_of
from denoscope.foundation.spelling import spelled
from denoscope.noise.array_noise import ArrayNoise
from denoscope.noise.folder_noise import FolderNoise
from denoscope.noise.noise_set import NoiseSet, NoiseSubset
from denoscope.noise.perturbed_noise import CHECKED, PerturbedNoise


def rounding_warnings(x: NoiseSet, precision: torch.dtype, option: str) -> list[str]:
    """One line if given or perturbed noises that differ become equal in the precision of a run.

    All noises of an array are compared, and the first thousand of a folder and of perturbed ones.

    Args:
        option: the argument that sets the precision, as Python spells it.
    """
    origin = x
    while isinstance(origin, NoiseSubset):
        origin = origin.noises
    if not isinstance(origin, ArrayNoise | FolderNoise | PerturbedNoise):
        return []
    own = torch.float32 if isinstance(origin, PerturbedNoise) else origin.dtype
    if torch.promote_types(own, precision) == precision:
        return []
    pairs = _merged(x, precision, len(x) if isinstance(origin, ArrayNoise) else min(len(x), 1 + CHECKED))
    if not pairs:
        return []
    first, second = (x.names[index] for index in pairs[0])
    others = f", and {len(pairs) - 1} more become equal to an earlier one" if len(pairs) > 1 else ""
    return [
        f"{first} and {second} differ, but are equal in {name_of(precision)}, the precision of the run{others}; "
        f"all that is computed from them is equal too; keep them apart with {spelled(option, name_of(own))}"
    ]


def _merged(x: NoiseSet, precision: torch.dtype, count: int) -> list[tuple[int, int]]:
    """The noises that become equal to an earlier one from which they differ: (the earlier one, the noise)."""
    seen: dict[bytes, tuple[int, bytes]] = {}
    pairs = []
    for index in range(count):
        noise = x.tensor(index)
        own = _digest(noise)
        earlier, its_own = seen.setdefault(_digest(noise.to(precision)), (index, own))
        if its_own != own:
            pairs.append((earlier, index))
    return pairs


def _digest(noise: torch.Tensor) -> bytes:
    """A hash of the values; zeros of both signs are equal, and every precision of them is exact in float64."""
    return hashlib.blake2b((noise.double() + 0.0).numpy().tobytes(), digest_size=16).digest()
