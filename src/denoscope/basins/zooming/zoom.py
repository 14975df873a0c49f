"""Zooms: maps of basins around a point of their boundary, each of a smaller part of the plane than the one before."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any, get_args

import torch

from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import Labelling, parse_labelling
from denoscope.basins.methods import ARGUMENTS, is_adaptive, parse_audit
from denoscope.basins.shared_labelling import shared_labelling
from denoscope.basins.zooming.boundary_point import Point, find
from denoscope.basins.zooming.zoom_data import finished, unfinished
from denoscope.basins.zooming.zoom_levels import ZoomLevels
from denoscope.config import (
    LEVEL_AUDIT,
    ROUNDING_CHECKS,
    ZOOM_FACTOR,
    ZOOM_METHOD,
    ClassifierConfig,
    InferenceConfig,
    Method,
    SystemConfig,
)
from denoscope.dynamics.boundaries.label_plane import doubling_boxes
from denoscope.foundation import memory
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import Checkpoint, parse_checkpoint
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_choice, parse_integer, parse_real
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.directions import LARGEST
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_axes import parse_pair
from denoscope.noise.plane_frame import AnchoredFrame
from denoscope.noise.plane_noise import PlaneNoise

if TYPE_CHECKING:
    import xarray
    from distributed import Client

CELL_BYTES = 60
"""The memory of one cell of one level: its label, what the classifier says, marks, and copies of them."""


@accepts_num_steps
@arguments_checked
def zoom(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    target: Point | None = None,
    factor: float = ZOOM_FACTOR,
    levels: int | None = None,
    method: Method = ZOOM_METHOD,
    audit: int | None = None,
    checks: int = ROUNDING_CHECKS,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = ClassifierConfig.classifier,
    reject: bool = ClassifierConfig.reject,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int | None = None,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    cluster: Client | None = None,
    allow_different_devices: bool = SystemConfig.allow_different_devices,
) -> xarray.Dataset:
    """Maps of a boundary at smaller and smaller lengths, down to the precision of the noises, with its dimension by decade.

    A point of the boundary is found first: on the line from `target` to the nearest point of a coarse grid that has another
    label, to the last digits. Level 0 is the given plane, moved so that this point is in its middle; each further level is
    `factor` times smaller, with as many cells. Noises are relative to the point, in the precision of the denoiser, so that
    no digit of their coordinates is lost: load it in float64 for more than five decades.

    Along (level, y, x) are `label`, and what else `map` returns, `rounding_checked`, and `unstable`, which marks cells whose
    label changes when they are denoised in other lanes, by another number of threads, or with the last bit of x_T changed.
    Along `level` are `half_width` (L2), `dimension` (`boundary_dimension`) with its `box_counts` (level, box) at sides of
    `box_side` spacings between cells, `uncertainty_exponent` (of neighbouring cells),
    `curvature` of the boundary (1/L2) with `curvature_error`, `growth`, `unstable_share`, the number of noises that were
    `denoised`, `network_rows`, which also counts the padding of each call, and the numbers of cells that were `filled`,
    `checked` and `wrong`, with the bounds `wrong_bound_95` and `wrong_bound_99_9` as attributes of `map`. `growth` is
    ln √(mean of ‖x_0(δ) − x_0(−δ)‖²/‖2δ‖²) over directions of δ from the middle to the edge, for the whole map. Along
    `decade` are `decade_dimension`, from the box counts of all its levels, and the `verdict` with its `reason`. Intervals
    cover as many wrong cells as the audits of the filled ones allow. The verdict is "undecided" if they would change it;
    `shown` is that on the boundaries of the maps.

    The zoom ends when `levels` are finished; when rounding decides the labels of more than 5 % of the boundary cells; or
    where cells would be closer than the precision resolves. The attribute `stopped` says why, `point` where it is, in
    decimals, and `labels` which two basins meet there.

    >>> denoiser = ds.load("mnist", dtype="float64")
    >>> plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60))
    >>> zoomed = ds.basins.zoom(denoiser, plane, steps=20)
    >>> zoomed["decade_dimension"], zoomed["verdict"]

    Interpretation: a smooth boundary has the dimension 1 in every decade but those at which it winds; a fractal one has its
    dimension down to the length below which the network is smooth.

    Caveats: one point of one boundary; what the zoom shows of others is unknown. With filled cells, thin basins that lie
    between the computed cells of a level are missed; see `map`. A float32 denoiser is as smooth, or as rough, as its rounding.

    Args:
        target: (u, v) in the plane, by default its centre.
        factor: how many times smaller each level is, above 1.
        levels: by default as many as the precision of x_T allows.
        method: of the map of each level; "auto" is exact below 128 cells along an axis.
        audit: the number of filled cells of each level that are computed to see how many are wrong, by default 64.
        checks: the number of cells beside the boundary of each level for which it is measured whether rounding decides.
        checkpoint: a file (.npz) to which finished levels are saved and from which it resumes; see `Checkpoint`.
        steps, classifier, reject, batch_size, lanes, noise_seed, condition, cluster, allow_different_devices: as for `map`.

    Raises:
        UserError: if the noises are not a plane of at least 25×25 cells, the target has one label around it, the levels
            exceed the precision of x_T, or workers cannot take part.
        UnfinishedError: if workers failed at some cells; finished levels stay in the checkpoint.
    """
    parse_choice(method, "method", get_args(Method))
    checkpoint, factor = parse_checkpoint(checkpoint), parse_real(factor, "factor", above=1, maximum=LARGEST)
    labelling, grid = parse_labelling(
        denoiser,
        plane,
        steps=steps,
        classifier=classifier,
        reject=reject,
        lanes=lanes,
        noise_seed=noise_seed,
        condition=condition,
        streams=checkpoint.streams,
    )
    given = grid.plane.in_precision(denoiser.dtype)
    target = given.center if target is None else parse_pair(target, "target", parse_real)
    options = {
        "target": list(target),
        "factor": factor,
        "levels": _parse_levels(levels, given.around(target, given.lengths), factor),
        "method": method,
        "audited": parse_audit(audit, method, adaptive=is_adaptive(method, grid.shape), default=LEVEL_AUDIT),
        "rounding_checks": parse_integer(checks, "checks", minimum=1),
    }
    batch_size = parse_integer(batch_size, "batch_size", minimum=1)
    checkpoint.check_free()
    shared = shared_labelling(
        labelling,
        cluster,
        batch_size,
        allow_different_devices=allow_different_devices,
        kept=checkpoint.how_to_continue,
    )
    with (
        shared as labelling,
        checkpoint.open(unfinished(labelling, grid, options), arguments=ARGUMENTS) as work,
        labelling.ready() as ready,
    ):
        middle = _begin(work.data, ready, given, target)
        zoomed = ZoomLevels(ready, middle, work.data, batch_size)
        work.run(zoomed.compute(), work.data.attrs["levels"])
        work.data = finished(
            work.data, zoomed.part(0), all_levels="precision" if levels is None else "levels"
        )
    return work.data


def _parse_levels(levels: Any, first: PlaneNoise, factor: float) -> int:
    """The number of levels, by default as many as the precision of x_T allows.

    Raises: UserError if they are more, or the first level exceeds it already, or they exceed the memory.
    """
    doubling_boxes(first.counts[::-1])
    dtype, resolution = name_of(first.dtype), first.resolution
    most = 1 + math.floor(math.log(min(first.spacing) / resolution, factor)) if resolution else 0
    finer = "" if first.dtype == torch.float64 else f"; load the denoiser with {spelled('dtype', 'float64')}"
    if most < 1:
        raise UserError(
            f"{spelled('lengths')} is {first.lengths}: cells are {min(first.spacing):.1e} apart; allowed: at least "
            f"{resolution:.1e}, which {dtype} resolves at x_T{finer}"
        )
    count = most if levels is None else parse_integer(levels, "levels", minimum=1)
    if count > most:
        raise UserError(
            f"{spelled('levels')} is {count}; allowed: 1 to {most}, below which cells are closer than {resolution:.1e}, "
            f"which {dtype} resolves at x_T{finer}"
        )
    memory.check_fits(
        CELL_BYTES * count * math.prod(first.counts),
        f"a zoom of {count} levels of {math.prod(first.counts):,} cells",
    )
    return count


def _begin(data: xarray.Dataset, labelling: Labelling, given: PlaneNoise, target: Point) -> PlaneNoise:
    """The first level around a point of the boundary, which is found unless the work has one already."""
    anchors = data["anchors"].values
    if "point" not in data.attrs:
        point = find(labelling, given, target)
        centre, first, second = point.plane.frame.vectors(given.geometry)
        anchors[...] = torch.stack([centre, centre + first, centre + second]).numpy()
        data.attrs |= {
            "point": [point.u, point.v],
            "labels": list(point.labels),
            "search_denoised": point.denoised,
        }
    frame = AnchoredFrame(torch.from_numpy(anchors.copy()))
    return dataclasses.replace(given, frame=frame)
