"""Where on a plane of noises small differences grow: the ridge map."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, finite
from denoscope.dynamics.sensitivity.spectrum import identity_of, logs, origin_of
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray

DIRECTIONS = 2


@accepts_num_steps
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
    """How much the denoising map stretches the plane itself at each of its points: `growth` (y, x, direction).

    At every point x_T of the plane J·[d1 d2] is computed, J = ∂x_0/∂x_T and d1, d2 the plane's orthonormal directions.
    `growth` holds the natural logarithms of its two singular values, the larger first, for the whole map of `steps`
    steps: an ellipse that small circles of the plane become in the space of images. `angle` is the direction in the
    plane, in radians from u, that grows most; `computed` (y, x) says which points are done.

    How to read it: ridges of `growth` run along boundaries between basins. When it misleads: a ridge is no fractal, the
    straight boundary between two Gaussians has one of 27; and growth across the plane says nothing about the other
    directions (`spectrum`).

    Noise of a stochastic scheduler is common to all points, without which the plane would have no map.

    Args:
        plane: a noise plane, as `noise.plane` makes it or `noise.read` finds it.
        batch_size: points at once, two rows of the network each; changes no bit.
        lanes: rows of every network call, on which the last bits depend.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Returns: xarray.Dataset on the plane's grid, as the labels of a plane are: rows y with coordinate v, columns x with u
        (L2 distances).

    Raises: UserError if the noises are no plane, a derivative is not finite, or the checkpoint exists.
    """
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=checkpoint.streams)
    flow = DenoisingMap(denoiser, loop, of_first(condition))
    parse_integer(batch_size, "batch_size", minimum=1)
    grid, shape = PlaneGrid.of(plane), denoiser.shape
    if tuple(plane.shape) != tuple(shape):
        raise UserError(f"the plane has shape {list(plane.shape)}; {denoiser.name} takes {list(shape)}")
    both = grid.plane.directions
    with checkpoint.open(_empty(grid, flow)) as file:
        growth, angle, computed = (file.data[name].values for name in ("growth", "angle", "computed"))
        left = np.flatnonzero(~computed[grid.rows, grid.columns])
        for first in range(0, len(left), batch_size):
            points = left[first : first + batch_size]
            where = grid.rows[points], grid.columns[points]
            growth[where], angle[where] = _stretch(flow, plane.batch(points), both)
            computed[where] = True
            file.save()
            file.report(int(computed.sum()), len(plane))
    return file.data


def _stretch(flow: DenoisingMap, x_T: torch.Tensor, both: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Growth [n, 2] and angle [n] at points [n, C, H, W] along both directions of the plane."""
    x_T = x_T.to(flow.denoiser.device, flow.denoiser.dtype)
    directions = both.to(x_T).repeat(len(x_T), 1, 1, 1)
    moved = finite(flow.push(x_T.repeat_interleave(DIRECTIONS, 0), directions), flow.denoiser)
    columns = moved.double().reshape(len(x_T), DIRECTIONS, -1).transpose(1, 2).cpu()
    _, values, turned = torch.linalg.svd(columns, full_matrices=False)
    # A direction has no sign: the angle is one of the half circle.
    return logs(values), torch.atan2(turned[:, 0, 1], turned[:, 0, 0]).remainder(torch.pi).numpy()


def _empty(grid: PlaneGrid, flow: DenoisingMap) -> xarray.Dataset:
    """The map in which nothing is computed."""
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
