"""The growth of small differences at each point of a plane of noises: the ridge map."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, check_finite_derivatives
from denoscope.dynamics.sensitivity.exponents import (
    depth,
    derivative_precision,
    log_values,
    measured_rounding,
    precision_advice,
    too_deep,
)
from denoscope.dynamics.sensitivity.origin import identity_of, origin_of
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser
from denoscope.models.running import outside_inference_mode
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray

DIRECTIONS = 2


@accepts_num_steps
@arguments_checked
@outside_inference_mode
def plane_growth(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """The growth of a plane of noises under the denoising map: `growth` (y, x, direction) at each of its points.

    At every point x_T the product J·[d1 d2] is computed, with J = ∂x_0/∂x_T and d1, d2 the orthonormal directions of the
    plane. A small circle of the plane becomes an ellipse in the space of images. `growth` holds the natural logarithms of
    the two singular values, the larger first, for the whole map of `steps` steps; `angle` is the direction in the plane,
    in radians from u, that grows most; `computed` (y, x) marks the finished points.

    The noise of a stochastic scheduler is common to all points; otherwise the plane would have no map.

    Interpretation: ridges of `growth` follow boundaries between basins.

    Caveats: a ridge is not a fractal; the straight boundary between two Gaussians has a ridge of 27. Rounding spoils
    a smaller growth that lies far below the larger; the attribute `warnings` then says so. Growth within the plane
    says nothing about other directions (`spectrum`).

    Args:
        plane: a plane of noises, from `noise.plane` or `noise.read`.
        batch_size: points per batch, two rows of the network each; it does not change any bit.
        lanes: rows of every network call, which determine the last bits.
        checkpoint: a file (.npz) for the finished points, or a `Checkpoint`.

    Returns: an xarray.Dataset on the grid of the plane, as that of its labels: rows y with coordinate v, columns x with
        coordinate u (L2 distances).

    Raises: UserError if the noises are not a flat plane, a derivative is not finite, or the checkpoint does not fit.
    """
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=checkpoint.streams)
    flow = DenoisingMap(denoiser, loop, of_first(condition))
    parse_integer(batch_size, "batch_size", minimum=1)
    grid = PlaneGrid.of(plane)
    if grid.plane.geometry != "flat":
        raise UserError(
            f"{spelled('plane')} has {spelled('geometry', grid.plane.geometry)}; allowed: a flat plane, whose directions "
            "are the same at each point"
        )
    if tuple(plane.shape) != tuple(denoiser.shape):
        raise UserError(
            f"plane holds noises {list(plane.shape)}; allowed: {list(denoiser.shape)}, the shape of {denoiser.name}"
        )
    with checkpoint.open(_initial_growth(grid, flow)) as work:
        work.run(grow_points(flow, plane, grid, work.data, batch_size=batch_size), len(plane))
    precision = _precision(flow, plane, grid, work.data)
    return work.data.assign_attrs(
        warnings=_rounding_warnings(work.data["growth"].values, precision, denoiser.dtype)
    )


def grow_points(
    flow: DenoisingMap, plane: NoiseSet, grid: PlaneGrid, data: xarray.Dataset, *, batch_size: int
) -> Iterator[int]:
    """Compute the remaining points of the ridge map in `data`, in place, yielding the number of finished points."""
    growth, angle, computed = (data[name].values for name in ("growth", "angle", "computed"))
    remaining = np.flatnonzero(~computed[grid.rows, grid.columns])
    for first in range(0, len(remaining), batch_size):
        points = remaining[first : first + batch_size]
        where = grid.rows[points], grid.columns[points]
        growth[where], angle[where] = _stretch(flow, plane.batch(points), grid.plane.directions)
        computed[where] = True
        yield int(computed.sum())


def _stretch(
    flow: DenoisingMap, x_T: torch.Tensor, directions: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Growth [n, 2] and angle [n] at points [n, C, H, W] along both directions [2, C, H, W] of the plane."""
    x_T = x_T.to(flow.denoiser.device, flow.denoiser.dtype)
    rows = directions.to(x_T).repeat(len(x_T), 1, 1, 1)
    images = check_finite_derivatives(flow.push(x_T.repeat_interleave(DIRECTIONS, 0), rows), flow.denoiser)
    columns = images.double().reshape(len(x_T), DIRECTIONS, -1).transpose(1, 2).cpu()
    _, values, turned = torch.linalg.svd(columns, full_matrices=False)
    # A direction has no sign: the angle lies in a half circle.
    return log_values(values), torch.atan2(turned[:, 0, 1], turned[:, 0, 0]).remainder(torch.pi).numpy()


def _precision(flow: DenoisingMap, plane: NoiseSet, grid: PlaneGrid, data: xarray.Dataset) -> float:
    """The relative rounding error of the derivative, measured along the growing direction of the point whose growths
    differ most."""
    deepest = np.argmax(depth(data["growth"].values)[grid.rows, grid.columns])
    angle = data["angle"].values[grid.rows[deepest], grid.columns[deepest]]
    x_T = plane.batch([int(deepest)]).to(flow.denoiser.device, flow.denoiser.dtype)
    directions = grid.plane.directions.to(x_T)
    leading = np.cos(angle) * directions[0] + np.sin(angle) * directions[1]
    return derivative_precision(measured_rounding(lambda rows: flow.push(x_T, rows), leading), x_T.dtype)


def _rounding_warnings(growth: np.ndarray, precision: float, dtype: torch.dtype) -> list[str]:
    """A warning if the smaller growth of points lies so far below the larger that rounding spoils it."""
    lost = int(np.count_nonzero(too_deep(growth, precision).any(axis=-1)))
    if not lost:
        return []
    advice = precision_advice(precision, dtype, double="read the larger growth alone")
    return [
        f"at {lost} of {growth[..., 0].size} points the smaller growth is spoiled by rounding errors of {precision:.0e}, too "
        f"far below the larger; {advice}"
    ]


def _initial_growth(grid: PlaneGrid, flow: DenoisingMap) -> xarray.Dataset:
    """The ridge map before any point is computed."""
    import xarray

    origin = origin_of(flow)
    return xarray.Dataset(
        {
            "growth": (("y", "x", "direction"), np.full((*grid.shape, DIRECTIONS), np.nan)),
            "angle": (("y", "x"), np.full(grid.shape, np.nan)),
            "computed": (("y", "x"), np.zeros(grid.shape, bool)),
        },
        coords=grid.coords,
        attrs={
            **origin,
            "plane": grid.made_with,
            "unit": "natural logarithm, whole map",
            IDENTITY: {"plane": grid.made_with, **identity_of(origin)},
        },
    )
