"""Null models: planes of labels of known kind, with which a verdict compares."""

from __future__ import annotations

import numpy as np

BLOCK = 8
"""Side in cells of the blocks whose shares of the labels `cell_noise` preserves."""


def straight_boundaries(shape: tuple[int, ...], classes: int, generator: np.random.Generator) -> np.ndarray:
    """Half planes or, for three classes and more, equal sectors around a random point in the middle of the plane."""
    centre = (0.25 + 0.5 * generator.random(2)) * shape
    y, x = (np.arange(length) - middle for length, middle in zip(shape, centre, strict=True))
    turned = (np.arctan2(y[:, None], x[None, :]) / (2 * np.pi) + generator.random()) % 1
    return np.minimum((turned * classes).astype(np.int32), classes - 1)


def cell_noise(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The labels permuted within blocks of 8×8 cells: independent cells with the local shares of the plane."""
    high, wide = (length // BLOCK for length in labels.shape)
    whole = labels[: high * BLOCK, : wide * BLOCK].reshape(high, BLOCK, wide, BLOCK)
    blocks = whole.transpose(0, 2, 1, 3).reshape(high * wide, BLOCK**2)
    permuted = generator.permuted(blocks, axis=1).reshape(high, wide, BLOCK, BLOCK)
    return permuted.transpose(0, 2, 1, 3).reshape(high * BLOCK, wide * BLOCK)


def shuffled(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All labels of the plane in random order."""
    return generator.permutation(labels.ravel()).reshape(labels.shape)
