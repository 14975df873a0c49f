"""How far the states of perturbed samples are from those of their base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.foundation.dtypes import in_double
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked

MEASURES = ("separation", "cosine", "relative")
"""The measures of `separations`, in the order of its first axis."""
Pair = tuple[int, int]
"""The rows of a perturbed sample and of its base."""


def separations(states: Any, pairs: Sequence[Pair], place: str, names: Sequence[Any]) -> np.ndarray:
    """The `MEASURES` of every pair at every entry along time [measure, pair, entry].

    Reads one sample at a time: only the states of a sample and of its base are in memory.

    Args:
        states: an array [sample, entry, …], read from disk when it is indexed if it is lazy.
        place: what the states are, for messages.
        names: of the samples, for messages.

    Raises: UserError naming the sample if a state is not finite.
    """
    check_unmasked(states, place)
    measures = np.empty((len(MEASURES), len(pairs), states.shape[1]))
    loaded_base, base_states = -1, np.empty(0)
    # In the order of the bases, so that each base is read once.
    for index, (row, base) in sorted(enumerate(pairs), key=lambda item: item[1][::-1]):
        if base != loaded_base:
            loaded_base, base_states = base, _sample_states(states, base, place)
            base_norms = np.sqrt(_dot_products(base_states, base_states))
        perturbed = _sample_states(states, row, place)
        difference, norms = perturbed - base_states, np.sqrt(_dot_products(perturbed, perturbed))
        separation = np.sqrt(_dot_products(difference, difference))
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = np.clip(1 - _dot_products(perturbed, base_states) / (norms * base_norms), 0, 2)
            measures[:, index] = separation, cosine, separation / base_norms
        if not np.isfinite(separation).all():
            entry = int(np.flatnonzero(~np.isfinite(separation))[0])
            raise UserError(
                f"{place} of {names[row]} or of its base is NaN or infinite at entry {entry}; leave that sample out"
            )
    return measures


def growth(separation: np.ndarray) -> np.ndarray:
    """ln of the factor from each entry to the next [pair, entry]; NaN in the last entry, and next to a separation of 0."""
    logs = np.log(separation, out=np.full(separation.shape, np.nan), where=separation > 0)
    return np.diff(logs, axis=1, append=np.nan)


def _sample_states(states: Any, row: int, place: str) -> np.ndarray:
    """The states of one sample [entry, number]; a complex number counts as two, its real and imaginary part."""
    values = parse_array(states[row], place)
    # Floating-point states keep their precision, which saves memory; the sums are in double precision anyway.
    return (
        values.reshape(len(values), -1)
        if values.dtype.kind == "f"
        else in_double(torch.tensor(values)).numpy()
    )


def _dot_products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The scalar product of each pair of rows, summed in double precision."""
    return np.einsum("ij,ij->i", one, other, dtype=np.float64)
