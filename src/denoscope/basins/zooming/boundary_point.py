"""A point of the boundary between two basins, found to the precision of the noises."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from denoscope.basins.labelling import Labelling
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.noise.plane_noise import PlaneNoise

COARSE = 16
"""Points along each axis of the plane among which the nearest one with another label is taken."""
DIGITS = Context(prec=2000)
"""Enough for every sum of floats: a fraction of a power of two has as many decimals as the power."""
Point = tuple[float, float]
"""The coordinates (u, v) of a point of a plane."""


@dataclass(frozen=True, eq=False)
class BoundaryPoint:
    """A point of a plane with another label at the next noise.

    `plane` is the given one around the point; `u` and `v` are its coordinates in the given one as decimal texts, exact on a
    flat plane; `labels` are those of its two sides; `denoised` is the number of noises that the search denoised.
    """

    plane: PlaneNoise
    u: str
    v: str
    labels: tuple[int, int]
    denoised: int


def find(labelling: Labelling, plane: PlaneNoise, target: Point) -> BoundaryPoint:
    """The first point with another label on the line from `target` to the nearest point of a coarse grid that has one.

    The line is cut into as many parts as one call of the network has rows, then the first part whose ends differ, and so on.
    Coordinates are relative to the beginning of the part, so that they keep their digits.

    Raises: UserError if the target and the grid around it have one label.
    """
    here = plane.around(target, plane.lengths)
    first, last, end = _ends(labelling, here, target)
    parts = 2 ** ((labelling.loop.lanes + 1).bit_length() - 1)
    denoised, moves = 1 + COARSE**2, [target]
    while np.hypot(*end) > here.resolution / 10:
        labels = labelling(here.at(np.arange(1, parts)[:, None] / parts * end))["label"]
        denoised += parts - 1
        begin = int(np.argmax(np.append(labels, last) != first))
        last = int(np.append(labels, last)[begin])
        step = tuple((begin / parts * end).tolist())
        here, end = here.around(step, plane.lengths), end / parts
        moves.append(step)
    return BoundaryPoint(here, *_coordinates(plane, here, moves), (first, last), denoised)


def _ends(labelling: Labelling, here: PlaneNoise, target: Point) -> tuple[int, int, np.ndarray]:
    """The label at (0, 0), that of the nearest point of the coarse grid with another one, and its coordinates."""
    ticks = (np.arange(COARSE) + 0.5) / COARSE - 0.5
    grid = np.stack(np.meshgrid(*(ticks * length for length in here.lengths)), axis=-1).reshape(-1, 2)
    grid = grid[np.argsort(np.hypot(*grid.T), kind="stable")]
    first, *labels = labelling(here.at([(0.0, 0.0), *grid]))["label"].tolist()
    other = next((k for k, label in enumerate(labels) if label != first), None)
    if other is None:
        raise UserError(
            f"{spelled('target')} is {target}, and it and all of {len(grid)} points within {spelled('lengths', here.lengths)} "
            f"around it have the label {first}; allowed: a place with two labels; take another target or longer lengths"
        )
    return first, labels[other], grid[other]


def _coordinates(plane: PlaneNoise, here: PlaneNoise, moves: list[Point]) -> tuple[str, str]:
    """The coordinates of the point in the given plane: the exact sum of all moves or, on a sphere, to float64."""
    if plane.geometry == "flat":
        u, v = (sum(map(Fraction, steps), Fraction()) for steps in zip(*moves, strict=True))
        return _text(u), _text(v)
    centre = here.frame.vectors(plane.geometry)[0]
    u, v = plane.frame.coordinates_of(centre[None], plane.geometry)[0].tolist()
    return repr(u), repr(v)


def _text(value: Fraction) -> str:
    """The exact decimal text of a fraction whose denominator is a power of two."""
    return str(DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator)))
