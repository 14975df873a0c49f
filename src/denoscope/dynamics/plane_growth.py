"""Where on a plane of noises small differences grow: the ridge map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope import noise, provenance
from denoscope.conditioning import NOTHING, Condition
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.dynamics.denoising_map import DenoisingMap
from denoscope.dynamics.spectrum import Told, finite
from denoscope.errors import UserError
from denoscope.noise import NoiseSet
from denoscope.sampling import Loop

if TYPE_CHECKING:
    import xarray

DIRECTIONS = 2


def plane_growth(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    batch_size: int = InferenceConfig.batch_size,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    progress: Told | None = None,
) -> xarray.Dataset:
    """How much the denoising map stretches the plane itself at each of its points: `growth` (u, v, direction).

    At every point x_T of the plane J·[d1 d2] is computed, J = ∂x_0/∂x_T and d1, d2 the plane's orthonormal directions.
    `growth` holds the natural logarithms of its two singular values, the larger first, for the whole map of `steps`
    steps: an ellipse that small circles of the plane become in the space of images. `angle` is the direction in the
    plane, in radians from u, that grows most.

    How to read it: ridges of `growth` run along boundaries between basins. When it misleads: a ridge is no fractal, the
    straight boundary between two Gaussians has one of 27; and growth across the plane says nothing about the other
    directions (`spectrum`).

    Noise of a stochastic scheduler is common to all points, without which the plane would have no map.

    Args:
        plane: a noise plane, as `noise.plane` makes it or `noise.read` finds it.
        batch_size: points at once, two rows of the network each.
        progress: is told (points done, all of them).

    Returns: xarray.Dataset on the plane's grid, with its coordinates u and v (L2 distances).

    Raises: UserError if the noises are no plane, or a derivative is not finite.
    """
    told = _plane_of(plane)
    shape = denoiser.shape
    if tuple(plane.shape) != tuple(shape):
        raise UserError(f"the plane has shape {list(plane.shape)}; {denoiser.name} takes {list(shape)}")
    both = torch.stack(noise.plane_directions(shape, tuple(told["direction_seeds"])))
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=_lanes(batch_size))
    flow = DenoisingMap(denoiser, loop, condition.of([0]))
    growth, angle = np.empty((len(plane), DIRECTIONS)), np.empty(len(plane))
    for first in range(0, len(plane), batch_size):
        points = range(first, min(first + batch_size, len(plane)))
        x_T = plane.batch(points).to(denoiser.device, denoiser.dtype)
        directions = both.to(x_T).repeat(len(points), 1, 1, 1)
        moved = finite(flow.push(x_T.repeat_interleave(DIRECTIONS, 0), directions), denoiser)
        columns = moved.double().reshape(len(points), DIRECTIONS, -1).transpose(1, 2).cpu()
        _, values, turned = torch.linalg.svd(columns, full_matrices=False)
        with np.errstate(divide="ignore"):
            growth[points] = np.log(values.numpy())
        # A direction has no sign: the angle is one of the half circle.
        angle[points] = torch.atan2(turned[:, 0, 1], turned[:, 0, 0]).remainder(torch.pi).numpy()
        if progress:
            progress(points.stop, len(plane))
    options = InferenceConfig(num_steps=steps, lanes=loop.lanes, extract_states=False)
    return _on_grid(
        plane,
        {"growth": growth, "angle": angle},
        {
            "model": denoiser.name,
            "plane": {name: value for name, value in told.items() if name != "samples"},
            "fingerprint": provenance.fingerprint(denoiser, [], options, noise_seed, condition),
            "unit": "natural logarithm, whole map",
        },
    )


def _plane_of(plane: NoiseSet) -> Mapping[str, Any]:
    """What a plane was made with."""
    sets = plane.parameters.get("sets", [plane.parameters])
    if len(sets) != 1 or sets[0].get("kind") != "plane" or {"u", "v"} - set(plane.coords):
        raise UserError(
            "these noises are no plane; make one: noise.plane((25, 41), denoiser.shape), or denoscope noise plane"
        )
    return sets[0]


def _lanes(batch_size: int) -> int:
    rows = DIRECTIONS * batch_size
    return rows if rows <= 4 else -(-rows // 4) * 4


def _on_grid(plane: NoiseSet, found: Mapping[str, np.ndarray], attrs: Mapping[str, Any]) -> xarray.Dataset:
    """The values of all points on the grid (u, v, …), wherever in the set a point stands."""
    import xarray

    u, x = np.unique(plane.coords["u"], return_inverse=True)
    v, y = np.unique(plane.coords["v"], return_inverse=True)
    variables = {}
    for name, values in found.items():
        grid = np.full((len(u), len(v), *values.shape[1:]), np.nan)
        grid[x, y] = values
        variables[name] = (("u", "v", "direction")[: grid.ndim], grid)
    return xarray.Dataset(variables, coords={"u": u, "v": v}, attrs=dict(attrs))
