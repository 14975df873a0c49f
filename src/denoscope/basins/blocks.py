"""Rectangular blocks of a grid, each given by the cells at its corners, which neighbouring blocks share.

Blocks are integers [block, 4]: top, left, bottom and right, all inclusive.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

TOP, LEFT, BOTTOM, RIGHT = range(4)
LEAST_INNER = 7
"""The number of inner cells along each axis from which a block is large."""

FEW_BLOCKS, MANY_BLOCKS, LARGE_BLOCK = 16, 32, 16
"""Numbers of first blocks along a plane, the second where they have more than so many cells along each side."""


def block_of(shape: tuple[int, int]) -> int:
    """The side of the first blocks, in cells: about 16 blocks along the plane, and 32 on large planes."""
    size = 2 ** (max(shape).bit_length() - 1)
    return max(min(size // FEW_BLOCKS, LARGE_BLOCK), size // MANY_BLOCKS, 2)


def tiling(shape: tuple[int, int], side: int) -> np.ndarray:
    """The blocks that cover a grid [ny, nx], whose corners are `side` cells apart; the last ones are smaller."""
    rows, columns = (np.unique([*range(0, count, side), count - 1]) for count in shape)
    tops, bottoms = (rows[:-1], rows[1:]) if len(rows) > 1 else (rows, rows)
    lefts, rights = (columns[:-1], columns[1:]) if len(columns) > 1 else (columns, columns)
    top, left = (axis.ravel() for axis in np.meshgrid(tops, lefts, indexing="ij"))
    bottom, right = (axis.ravel() for axis in np.meshgrid(bottoms, rights, indexing="ij"))
    return np.stack([top, left, bottom, right], axis=1)


def corners(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns [block, 4] of the corners: top left, top right, bottom left, bottom right."""
    return blocks[:, [TOP, TOP, BOTTOM, BOTTOM]], blocks[:, [LEFT, RIGHT, LEFT, RIGHT]]


def have_interior(blocks: np.ndarray) -> np.ndarray:
    """Whether each block holds cells that are not corners."""
    return np.any(sizes(blocks) > 1, axis=1)


def sizes(blocks: np.ndarray) -> np.ndarray:
    """The number of cells from corner to corner along y and along x [block, 2]."""
    return blocks[:, [BOTTOM, RIGHT]] - blocks[:, [TOP, LEFT]]


def halves(blocks: np.ndarray) -> np.ndarray:
    """The parts of each block, halved along every axis on which it holds cells between its corners."""
    for first, last in ((TOP, BOTTOM), (LEFT, RIGHT)):
        long = blocks[:, last] - blocks[:, first] > 1
        middle = (blocks[long, first] + blocks[long, last]) // 2
        lower, upper = blocks.copy(), blocks[long]
        lower[long, last], upper[:, first] = middle, middle
        blocks = np.concatenate([lower, upper])
    return blocks


def inner_cells(
    blocks: np.ndarray, places: qmc.QMCEngine
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Row and column of a cell inside each large block, at evenly scattered places; and the indices of the large blocks."""
    inner = sizes(blocks) - 1
    large = np.flatnonzero((inner >= LEAST_INNER).all(axis=1))
    place = places.random(len(large)) if len(large) else np.zeros((0, 2))
    rows, columns = (blocks[large][:, [TOP, LEFT]] + 1 + (place * inner[large]).astype(np.int64)).T
    return (rows, columns), large
