"""Maps of basins: the class that each noise of a plane becomes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from denoscope.basins import point_cache
from denoscope.basins.blank_map import attributes, blank_map
from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import parse_labelling
from denoscope.basins.map_cells import MapCells
from denoscope.basins.methods import ARGUMENTS, adaptive_options, is_adaptive, parse_audit
from denoscope.basins.point_cache import parse_cache
from denoscope.basins.shared_labelling import shared_labelling
from denoscope.config import (
    MAP_AUDIT,
    MAP_METHOD,
    ClassifierConfig,
    InferenceConfig,
    Method,
    SystemConfig,
)
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import Checkpoint, parse_checkpoint
from denoscope.foundation.validation import check_callable, parse_choice, parse_integer
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet

if TYPE_CHECKING:
    import xarray
    from distributed import Client


@accepts_num_steps
@arguments_checked
def map(  # noqa: A001
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = ClassifierConfig.classifier,
    reject: bool = ClassifierConfig.reject,
    method: Method = MAP_METHOD,
    audit: int | None = None,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int | None = None,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    fast: bool = False,
    cache: str | os.PathLike[str] | None = None,
    callback: Callable[[xarray.Dataset], None] | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    cluster: Client | None = None,
    allow_different_devices: bool = SystemConfig.allow_different_devices,
) -> xarray.Dataset:
    """The class `label` (y, x) that each noise of a plane becomes, with the confidence of the classifier.

    Rows y run along v and columns x along u, the coordinates of the plane (L2 distances). On the same grid are
    `confidence` and `margin` (softmax of the class, and its lead over the runner-up), with `reject` also `likeness`
    (`ds.classify`), `nonfinite` (x_0 is NaN or infinite) and `computed`. `label` is −1 for images that are rejected or
    not finite, and for cells that are not computed yet. A function of your own gives no confidence, margin or likeness.

    The adaptive method computes cells on a coarse grid and around the boundaries that it finds, and fills the others, for
    which `status` says why: 1, the cell is computed; 2, it is filled, and the margin of the nearest computed cell changes
    too slowly to vanish on the way; 3, it is filled because computed cells around it agree. What the computed cells do not
    meet, such as a small island, is missed. Therefore a random sample of the filled cells is
    computed as well: the attribute `audit` says how many of them were wrong, and `wrong_bound_95` and `wrong_bound_99_9` are
    the largest shares of wrong cells among the filled ones that this allows at 95 % and 99.9 % (one-sided, Clopper and
    Pearson). `nonfinite` of a filled cell is, like its label, that of the cells around it. The attribute `network_rows` is the number of
    rows that went through the network, with the padding of each call to `lanes` rows and without cells from the cache.

    >>> plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60))
    >>> basins = ds.basins.map(denoiser, plane, steps=20)
    >>> ds.dynamics.verdict(basins["label"])

    Interpretation: the basins of the map x_T → x_0 in a plane through the base noise.

    Caveats: the softmax is not the probability of being right, and without `reject` images that are not digits get a class
    too. The noise of a stochastic scheduler is common to all cells, because independent noise would draw fractals that
    do not exist.

    Args:
        classifier: "auto", the bundled classifier of the images' shape; its name, "lenet" or "digits-cnn"; a file of its
            weights; or a function from images [n, C, H, W], all finite, to integers [n], −1 for no class. A checkpoint
            stores only the name of a function: resume with the same one.
        reject: let the bundled classifier give images that are not digits the label −1.
        method: "exact" computes every cell, "adaptive" those around boundaries; "auto" is adaptive from 128 cells along
            both axes on. Measures of basins allow for as many wrong cells as the audit does not exclude, if they are given
            the map or its `label`; `.values` loses the audit.
        audit: the number of filled cells that are computed to see how many are wrong, by default 256, or all if there are
            fewer. An exact map fills no cells. A verdict, and a dimension with a narrow interval, need far more than the
            default, or an exact map.
        batch_size: number of cells denoised together; does not change any bit.
        lanes: fixed number of rows of every network call, which determines the last bits; by default 64, or 16 for images of
            more than 256 numbers on a processor.
        condition: the condition for all cells; that of the first sample if it holds several.
        fast: compile the network, which changes last bits.
        cache: a file of points whose labels are known, which is created if it does not exist. Points of the same plane with
            the same labels are taken from it instead of computed, and those that are computed are added. Grids with
            `endpoint=False` of 2, 4, 8, … times as many cells share points. A function of your own has no cache, since
            nothing tells it from another.
        callback: called with the map so far each time that the cells of a level are computed, or for an exact map after
            each batch. Cells that are not computed have the values of the nearest computed one.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.
        cluster: a dask.distributed.Client, whose workers denoise and classify the cells; see docs/scaling.md.
        allow_different_devices: let workers take part whose bits differ; the map says so.

    Raises:
        UserError: if the noises are not a plane, the classifier does not take the images, the checkpoint exists, the
            cache is the same file, or workers cannot take part.
        UnfinishedError: if workers failed at some cells; what was finished before stays in the checkpoint.
    """
    parse_choice(method, "method", get_args(Method))
    checkpoint = parse_checkpoint(checkpoint)
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
        fast=fast,
    )
    adaptive = is_adaptive(method, grid.shape)
    audited = parse_audit(audit, method, default=MAP_AUDIT, adaptive=adaptive)
    cache = parse_cache(cache, labelling, plane, checkpoint)
    if callback is not None:
        check_callable(callback, "callback", ("the map so far",), "nothing")
    batch_size = parse_integer(batch_size, "batch_size", minimum=1)
    options = adaptive_options(grid.shape, audited) if adaptive else {}
    checkpoint.check_free()
    shared = shared_labelling(
        labelling,
        cluster,
        batch_size,
        allow_different_devices=allow_different_devices,
        kept=checkpoint.how_to_continue,
    )
    with shared as labelling:
        origin, nothing = labelling.origin(grid.made_with), labelling.nothing
        blank = blank_map(grid, nothing, attributes(origin | options), adaptive=adaptive)
        with (
            checkpoint.open(blank, arguments=ARGUMENTS) as work,
            point_cache.opened(cache, grid.plane, origin, nothing) as points,
            labelling.ready() as ready,
        ):
            cells = MapCells(ready, plane, grid, work.data, batch_size, points, callback)
            work.run(cells.fill(audited), None if adaptive else len(plane))
    return work.data
