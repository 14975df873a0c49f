"""Maps of basins: the class that each noise of a plane becomes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.basins.classifiers import LENET, ClassifierSource
from denoscope.basins.labelling import Labelling, parse_labelling, parse_plane
from denoscope.config import ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.validation import parse_integer
from denoscope.models.classifier.labels import REJECTED
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray


@accepts_num_steps
@arguments_checked
def basin_map(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = LENET,
    reject: bool = ClassifierConfig.reject,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """The class `label` (y, x) that each noise of a plane becomes, with the confidence of the classifier.

    Rows y run along v and columns x along u, the coordinates of the plane (L2 distances). On the same grid are
    `confidence` and `margin` (softmax of the class, and its lead over the runner-up), with `reject` also `likeness`
    (`ds.classify`), `nonfinite` (x_0 is NaN or infinite) and `computed`. `label` is −1 for images that are rejected or
    not finite, and for cells that are not computed yet. A function of your own gives no confidence, margin or likeness.

    >>> plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60))
    >>> basins = ds.basins.map(denoiser, plane, steps=20)
    >>> ds.dynamics.verdict(basins["label"])

    Interpretation: the basins of the map x_T → x_0 in a plane through the base noise.

    Caveats: the softmax is not the probability of being right, and without `reject` images that are not digits get a class
    too. The noise of a stochastic scheduler is common to all cells, because independent noise would draw fractals that
    do not exist.

    Args:
        classifier: "lenet"; a file of LeNet-5 weights; or a function from images [n, C, H, W], all finite, to integers
            [n], −1 for no class. A checkpoint stores only the name of a function: resume with the same one.
        reject: let LeNet-5 label images that are not digits −1.
        batch_size: number of cells denoised together; does not change any bit.
        lanes: fixed number of rows of every network call, which determines the last bits.
        condition: the condition for all cells; that of the first sample if it holds several.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if the noises are not a plane, the classifier does not take the images, or the checkpoint exists.
    """
    check_denoiser(denoiser)
    grid = parse_plane(plane, denoiser)
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=checkpoint.streams)
    labelling = parse_labelling(
        denoiser, classifier=classifier, reject=reject, loop=loop, condition=condition
    )
    at_once = -(-parse_integer(batch_size, "batch_size", minimum=1) // lanes) * lanes
    with checkpoint.open(_unlabelled(grid, labelling)) as work:
        work.run(_label_cells(labelling, plane, grid, work.data, at_once), len(plane))
        lost = int(work.data["nonfinite"].sum())
        work.data.attrs["warnings"] = (
            [f"{lost} of {len(plane)} cells became NaN or infinite and have the label −1"] if lost else []
        )
    return work.data


def _label_cells(
    labelling: Labelling, plane: NoiseSet, grid: PlaneGrid, data: xarray.Dataset, at_once: int
) -> Iterator[int]:
    """Fill in the cells that are not computed yet, and yield the number of finished cells after each batch."""
    computed = data["computed"].values
    pending = np.flatnonzero(~computed[grid.rows, grid.columns])
    for first in range(0, len(pending), at_once):
        cells = pending[first : first + at_once]
        place = grid.rows[cells], grid.columns[cells]
        for name, values in labelling(plane.batch(cells.tolist())).items():
            data[name].values[place] = values
        computed[place] = True
        yield int(computed.sum())


def _unlabelled(grid: PlaneGrid, labelling: Labelling) -> xarray.Dataset:
    """The map before any work."""
    import xarray

    answers = labelling.classify(torch.empty(0, *grid.plane.shape))
    cells = {
        name: np.full(grid.shape, REJECTED if name == "label" else np.nan, values.dtype)
        for name, values in answers.items()
    } | {name: np.zeros(grid.shape, bool) for name in ("nonfinite", "computed")}
    origin = labelling.origin(grid)
    identity = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return xarray.Dataset(
        {name: (("y", "x"), values) for name, values in cells.items()},
        coords=grid.coords,
        attrs={**origin, "warnings": [], IDENTITY: {**identity, **origin["fingerprint"]}},
    )
