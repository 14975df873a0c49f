"""Planes of noises from seeds, or through three states."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from typing import Any, get_args

import torch

from denoscope.config import DefaultConfig, Geometry
from denoscope.foundation import memory
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_flag, parse_choice, parse_integer, parse_real
from denoscope.noise.coercion import as_state
from denoscope.noise.directions import LARGEST
from denoscope.noise.noise_set import Shape, check_not_swapped, check_shape
from denoscope.noise.plane_axes import parse_pair
from denoscope.noise.plane_frame import AnchoredFrame, PlaneFrame, SeededFrame
from denoscope.noise.plane_noise import PlaneNoise

LARGEST_LEVEL = 64
"""More than double precision can tell apart."""
MARGIN = 1.5
"""The length of a plane through three noises, in parts of their extent."""
SHARE = 1 / 3
"""The length of a spherical plane along each axis by default, in parts of the circumference."""
FLAT_LENGTHS = (2000.0, 3000.0)
"""The lengths of a flat plane by default."""
TICK_BYTES = 24
"""The memory of one coordinate along an axis while the coordinates are made."""


@calls_checked
def plane(
    counts: tuple[int, int],
    shape: Shape,
    *,
    lengths: tuple[float, float] | None = None,
    center: tuple[float, float] = DefaultConfig.center_coords,
    base_seed: int = DefaultConfig.plane_base_seed,
    direction_seeds: tuple[int, int] = DefaultConfig.direction_seeds,
    geometry: Geometry = "flat",
    endpoint: bool = True,
) -> PlaneNoise:
    """A grid of noises base + u·d1 + v·d2 with orthonormal directions d1 and d2; u and v are L2 distances.

    `counts` = (cells along u, cells along v), evenly spaced over `lengths` around `center`; a single cell is at the
    center. Cell (x, y) is noise `x * counts[1] + y`.

    With geometry "spherical" the noises lie on the sphere about 0 through the base: all have the base's norm, which is
    that of Gaussian noise. The noise at (u, v) is reached from the base along a great circle, after an arc of length
    √(u² + v²) in the direction u·d1 + v·d2. Arcs longer than half of the circumference pass the opposite pole and come
    back: a plane whose corners are farther than that from the base contains noises twice.

    A flat plane leaves the norms of Gaussian noise at distances of about √(7·√(C·H·W)) from the base; see
    `PlaneNoise.warnings`.

    >>> plane((25, 41), (1, 28, 28)).at([[0.0, 0.0], [1.5, -2.0]], dtype=torch.float64).shape
    torch.Size([2, 1, 28, 28])

    Args:
        lengths: by default 2000 and 3000; on a sphere a third of its circumference 2π·‖base‖.
        endpoint: whether the last cell along each axis lies at the end of its length, as for `numpy.linspace`. Without
            it, planes of 2, 4, 8, … times as many cells contain the same points.

    Raises: UserError if rounding to float32 moves cells by more than a tenth of their distance (it states the smallest
        length), if a length exceeds the circumference of the sphere, or if the memory does not hold the coordinates along
        an axis.
    """
    check_not_swapped(counts, "counts", shape)
    shape, geometry = check_shape(shape), parse_geometry(geometry)
    seeds = parse_pair(direction_seeds, "direction_seeds", parse_integer)
    least = 3 if geometry == "spherical" else 2
    if math.prod(shape) < least:
        raise UserError(
            f"{spelled('shape')} is {shape}; allowed: at least {least} numbers, to have two directions"
        )
    if seeds[0] == seeds[1]:
        raise UserError(f"{spelled('direction_seeds')} is {seeds}; allowed: two different seeds")
    frame = SeededFrame(shape, parse_integer(base_seed, "base_seed"), seeds)
    if lengths is None:
        lengths = FLAT_LENGTHS if geometry == "flat" else (SHARE * frame.circumference,) * 2
    return on_frame(counts, lengths, center, frame, geometry, endpoint)


@calls_checked
def plane_through(
    first: Any,
    second: Any,
    third: Any,
    counts: tuple[int, int] = DefaultConfig.num_prompts_per_direction,
    *,
    lengths: tuple[float, float] | None = None,
    center: tuple[float, float] | None = None,
    geometry: Geometry = "flat",
    endpoint: bool = True,
) -> PlaneNoise:
    """A grid of noises in the plane through three states: the first is (0, 0), the second (its distance, 0).

    The states are noises, images with noise, or states of a recording. Coordinates, `counts`, `geometry` and `endpoint`
    are those of `plane`. On a sphere all noises have the norm of the first state, and only the directions of the other
    two count.

    >>> x = random(3, (1, 8, 8))
    >>> plane_through(x[0], x[1], x[2]).at([[0.0, 0.0]]).equal(x.batch([0]))
    True

    Args:
        first, second, third: states [C, H, W] or [1, C, H, W], tensors or arrays of NumPy or xarray.
        counts: cells along u and along v, by default those of the command line.
        lengths: by default 1.5 times the extent of the three points along each axis.
        center: by default the middle of that extent.

    Raises: UserError if a state is not one, two are equal or all three lie on one line, or as for `plane`.
    """
    frame, geometry = AnchoredFrame(_anchors(first, second, third)), parse_geometry(geometry)
    points = frame.coordinates(geometry)
    low, high = points.min(0).values, points.max(0).values
    lengths = tuple((MARGIN * (high - low)).tolist()) if lengths is None else lengths
    center = tuple(((high + low) / 2).tolist()) if center is None else center
    return on_frame(counts, lengths, center, frame, geometry, endpoint)


def tile(whole: PlaneNoise, level: int, x: int, y: int, cells: int) -> PlaneNoise:
    """Part (x, y) of a plane that is cut into 2^level × 2^level parts, as a grid of cells × cells noises.

    x counts along u and y along v, from the corner of the smallest coordinates. Grids have no cells at their ends, so that
    a part of one level has the points of the four parts of the next, twice as far apart.

    Raises: UserError if the plane has no such part, or its cells are too close to be told apart.
    """
    parts = 2 ** parse_integer(level, "level", maximum=LARGEST_LEVEL)
    at = [parse_integer(value, name, maximum=parts - 1) for name, value in (("x", x), ("y", y))]
    count = parse_integer(cells, "cells", minimum=1)
    _check_size((count, count), "cells")
    middles = [(place + 0.5) / parts - 0.5 for place in at]
    noises = dataclasses.replace(
        whole,
        counts=(count, count),
        lengths=(whole.lengths[0] / parts, whole.lengths[1] / parts),
        center=tuple(
            c + length * k for c, length, k in zip(whole.center, whole.lengths, middles, strict=True)
        ),
        endpoint=False,
    )
    _check_spacing(noises)
    return noises


def _anchors(*states: Any) -> torch.Tensor:
    """Three states of one shape [3, C, H, W], float64."""
    names = ("first", "second", "third")
    tensors = [as_state(state, shape=None, name=name) for state, name in zip(states, names, strict=True)]
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            raise UserError(
                f"{spelled(name)} has shape {list(tensor.shape)}; allowed: {list(tensors[0].shape)}, that of the first"
            )
    return torch.stack([tensor.double().cpu() for tensor in tensors])


def on_frame(
    counts: Any, lengths: Any, center: Any, frame: PlaneFrame, geometry: Geometry, endpoint: Any
) -> PlaneNoise:
    """A plane whose base and directions are known.

    Raises: UserError if its arguments are out of range, or its cells not apart.
    """
    check_flag(endpoint, "endpoint")
    counts = parse_pair(counts, "counts", functools.partial(parse_integer, minimum=1))
    _check_size(counts, "counts")
    noises = PlaneNoise(
        counts=counts,
        lengths=parse_pair(lengths, "lengths", functools.partial(parse_real, above=0, maximum=LARGEST)),
        center=parse_pair(center, "center", functools.partial(parse_real, minimum=-LARGEST, maximum=LARGEST)),
        frame=frame,
        geometry=geometry,
        endpoint=endpoint,
    )
    _check_circumference(noises)
    _check_spacing(noises)
    return noises


def parse_geometry(geometry: Any) -> Geometry:
    """The geometry of a plane, if it is one."""
    parse_choice(geometry, "geometry", get_args(Geometry))
    return geometry


def _check_size(counts: tuple[int, int], argument: str) -> None:
    """Refuse a plane whose coordinates the memory does not hold, or with more noises than can be numbered."""
    what = f"{spelled(argument)} gives {math.prod(counts):,} noises: their plane"
    memory.check_fits(TICK_BYTES * sum(counts), what)
    if math.prod(counts) > sys.maxsize:
        raise UserError(f"{what} is too large; allowed: up to {sys.maxsize:,} noises")


def _check_circumference(noises: PlaneNoise) -> None:
    """Refuse a plane that goes around the sphere more than once."""
    if noises.geometry == "flat":
        return
    around = noises.frame.circumference
    if max(noises.lengths) > around:
        raise UserError(
            f"{spelled('lengths')} is {noises.lengths}; allowed with {spelled('geometry', 'spherical')}: up to {around:.4g}, "
            "the circumference of the sphere"
        )


def _check_spacing(noises: PlaneNoise) -> None:
    """Refuse a plane in which rounding misplaces or merges neighbouring cells."""
    smallest = noises.resolution
    for axis, count, spacing in zip("uv", noises.counts, noises.spacing, strict=True):
        if count > 1 and spacing < smallest:
            raise UserError(
                f"{spelled('lengths')} is {noises.lengths}: the spacing of cells along {axis} is "
                f"{spacing:.1e}, below the resolution of {str(noises.dtype).removeprefix('torch.')}; allowed: about "
                f"{smallest * (count - noises.endpoint):.1e} and more for {count} cells along {axis}"
            )
