"""How much the denoising map stretches distances in the plane, on a lattice of each tile."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.basins import point_cache
from denoscope.basins.labelling import Labelling
from denoscope.explorer.tile_picture import TilePicture
from denoscope.noise.plane_noise import PlaneNoise

POINTS = 16
"""Points of the lattice along each side of a tile."""
LOWEST, PER_DECADE = -8, 2**12
"""The code of a growth g is 2^12 · (log10 g + 8); 0 stands for one that is not finite."""
NOTHING = {"growth": np.zeros(0)}
"""What is known of no points."""


def growth_tile(part: PlaneNoise, labelling: Labelling, cache: Path | None) -> Iterator[TilePicture | None]:
    """The picture of the growth in a tile, after None for each batch of noises.

    Its first two planes hold the code of each growth: the high byte and the low byte.

    Args:
        part: the noises of the tile, 16 × 16 of them.
        cache: a file of known points. A tile is taken from it as a whole, without a call of the network.
    """
    with point_cache.opened(cache, part, _origin(part, labelling), NOTHING) as points:
        known = points and points.on_grid(part.u, part.v)
        if known and (known.index >= 0).all():
            yield picture_of(known.answers["growth"][known.index])
            return
        growth = yield from _computed(part, labelling)
        if points:
            columns, rows = np.meshgrid(part.u, part.v)
            points.add(columns.ravel(), rows.ravel(), {"growth": growth.ravel()})
    yield picture_of(growth)


def _computed(part: PlaneNoise, labelling: Labelling) -> Generator[None, None, np.ndarray]:
    """The growths [16, 16] of a tile, after None for each batch of noises."""
    # Differences are forward, so the lattice has one more column and row.
    u, v = (
        center + length * (np.arange(POINTS + 1) / POINTS - 0.5)
        for center, length in zip(part.center, part.lengths, strict=True)
    )
    columns, rows = np.meshgrid(u, v)
    noises = part.at(np.stack([columns.ravel(), rows.ravel()], 1))
    images = []
    with labelling.ready() as ready:
        for batch in noises.split(labelling.loop.lanes):
            images.append(ready.images(batch))
            yield None
    side = (POINTS + 1, POINTS + 1, -1)
    return growths(noises.double().reshape(side), torch.cat(images).double().reshape(side))


def _origin(part: PlaneNoise, labelling: Labelling) -> dict[str, Any]:
    """Everything that determines the growth at a point: not the classifier, but how far its neighbours are."""
    origin = labelling.origin({})
    decisive = {name: origin[name] for name in ("condition", "fingerprint")}
    return decisive | {"growth": {"spacing": list(part.spacing)}}


def growths(noises: torch.Tensor, images: torch.Tensor) -> np.ndarray:
    """The largest singular values [n, n] of the map from the plane to its images, both lattices [n + 1, n + 1, size].

    The derivative along rows and columns comes from forward differences. A displacement counts with its L2 length among
    the noises, so that neither the distance of points nor the curvature of a sphere matters: the square of the singular
    value is the largest eigenvalue of G⁻¹H, with the inner products G of the differences of noises and H of images.
    """
    (a, b, c), (d, e, f) = (_products(lattice) for lattice in (noises, images))
    area = a * c - b * b
    half = (c * d - 2 * b * e + a * f) / area / 2
    return (half + (half**2 - (d * f - e * e) / area).clamp_min(0).sqrt()).sqrt().numpy()


def _products(lattice: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inner products [n, n] of the differences along columns and rows: u·u, u·v, v·v."""
    corner = lattice[:-1, :-1]
    along_u, along_v = lattice[:-1, 1:] - corner, lattice[1:, :-1] - corner
    return (along_u**2).sum(-1), (along_u * along_v).sum(-1), (along_v**2).sum(-1)


def picture_of(growth: np.ndarray) -> TilePicture:
    """A picture of growths [16, 16], rows along v; each covers the cells up to the next point."""
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.round((np.log10(growth) - LOWEST) * PER_DECADE)
    # A scheduler that clips can make the map constant: its growth 0 gets the smallest code.
    known = np.where(np.isnan(codes) | np.isposinf(codes), 0, codes.clip(1, 2**16 - 1)).astype(np.uint16)
    planes = np.zeros((4, POINTS, POINTS), np.uint8)
    planes[0], planes[1] = known >> 8, known & 255
    return TilePicture(planes, finished=True).enlarged()
