"""Planes of labels about which the truth is known: what a verdict compares with."""

from __future__ import annotations

import numpy as np

SHARES = 8
"""Side in cells of the blocks whose shares of the labels per-cell noise keeps."""


def straight_boundaries(shape: tuple[int, ...], classes: int, generator: np.random.Generator) -> np.ndarray:
    """Two half planes, or as many sectors as there are classes, about a random point in the middle of the plane."""
    centre = (0.25 + 0.5 * generator.random(2)) * shape
    y, x = (np.arange(length) - middle for length, middle in zip(shape, centre, strict=True))
    turned = (np.arctan2(y[:, None], x[None, :]) / (2 * np.pi) + generator.random()) % 1
    return np.minimum((turned * classes).astype(np.int32), classes - 1)


def cell_noise(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The labels shuffled inside blocks of 8×8 cells: a label drawn for every cell, with the plane's own local shares."""
    high, wide = (length // SHARES for length in labels.shape)
    whole = labels[: high * SHARES, : wide * SHARES].reshape(high, SHARES, wide, SHARES)
    blocks = whole.transpose(0, 2, 1, 3).reshape(high * wide, SHARES**2)
    mixed = generator.permuted(blocks, axis=1).reshape(high, wide, SHARES, SHARES)
    return mixed.transpose(0, 2, 1, 3).reshape(high * SHARES, wide * SHARES)


def shuffled(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All labels of the plane in random order."""
    return generator.permutation(labels.ravel()).reshape(labels.shape)
