"""Which class each noise of a plane becomes: maps of basins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from denoscope.config import ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.foundation import validation
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.models.classifier import labels
from denoscope.models.classifier.labels import DIGIT, REJECTED, classify_finite
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser, need_denoiser, weights_sha256
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.recording import provenance
from denoscope.sampling.loop import Loop, run_loop

if TYPE_CHECKING:
    import xarray

Classifier = str | os.PathLike[str] | Callable[[torch.Tensor], Any]
Answers = dict[str, np.ndarray]
"""What a classifier says of images: label, confidence, …, each [n]."""
LENET = "lenet"
AT_ONCE = 4
"""Groups of lanes that are denoised together where points are asked for one by one."""


@dataclass(frozen=True, eq=False)
class PointLabels:
    """A function of points (u, v) [n, 2] of a plane to their classes [n], that says what it was made with.

    `origin` is all that decides the labels; `resolution` the least distance (L2) of two points that float32 resolves.
    """

    label: Callable[[Any], np.ndarray] = field(repr=False)
    origin: dict[str, Any]
    resolution: float

    def __call__(self, points: Any) -> np.ndarray:
        """The labels [n] of points [n, 2]."""
        return self.label(points)


@accepts_num_steps
def map(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: Classifier = LENET,
    reject: bool = ClassifierConfig.reject,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """The class that every noise of a plane becomes: `label` (y, x), and beside it how sure that is.

    Rows y run along v and columns x along u, the coordinates of the plane (L2 distances). Over the same cells there are
    `confidence` and `margin` (to the runner-up), softmaxes of the classifier; with `reject` also `likeness`
    (`ds.classify`); `nonfinite`, where x_0 is NaN or Inf; and `computed`. `label` is −1 where x_0 is rejected or not
    finite, and where nothing is computed yet. With a classifier of your own there is no confidence, nor margin.

    >>> found = ds.basins.map(denoiser, ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60)), steps=20)
    >>> ds.dynamics.basin_fractions(found["label"]), ds.dynamics.verdict(found["label"])

    How to read it: basins of the map x_T → x_0 in this plane, through the base noise. When it misleads: the softmax
    is no probability of being right, and unless it may reject, a classifier gives some class to what is none. Noise of a stochastic
    scheduler is common to all cells; noise of each cell's own would paint fractals that are not there.

    Args:
        classifier: "lenet"; a file of LeNet-5 weights; or a function of images [n, C, H, W], all finite, to whole
            numbers [n], −1 for what is no class. Of a function a file knows the name alone: go on with the same.
        reject: let "lenet" label −1 what is no digit.
        batch_size: cells in flight; changes no bit.
        lanes: rows of every network call, on which the last bits depend.
        condition: what all cells are told; of several samples' that of the first.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if the noises are no plane, the classifier does not fit, or the checkpoint exists.
    """
    need_denoiser(denoiser)
    grid = PlaneGrid.of(plane)
    if tuple(plane.shape) != tuple(denoiser.shape):
        raise UserError(
            f"the plane has shape {list(plane.shape)}; {denoiser.name} takes {list(denoiser.shape)}"
        )
    options = InferenceConfig(num_steps=steps, batch_size=batch_size, lanes=lanes, extract_states=False)
    classify, told = _classifier(classifier, reject, denoiser)
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop.of(options, noise_seed, streams=checkpoint.streams)
    run = _run(denoiser, loop, condition)
    origin = _origin(denoiser, told, grid, options, loop, condition)
    nothing = classify(torch.empty(0, *denoiser.shape))
    with checkpoint.open(_empty(grid, origin, nothing)) as file:
        computed, nonfinite = (file.data[name].values for name in ("computed", "nonfinite"))
        left = np.flatnonzero(~computed[grid.rows, grid.columns])
        at_once = -(-batch_size // lanes) * lanes
        for first in range(0, len(left), at_once):
            cells = left[first : first + at_once]
            where, x_0 = (grid.rows[cells], grid.columns[cells]), run(plane.batch(cells.tolist()))
            for name, values in classify(x_0).items():
                file.data[name].values[where] = values
            nonfinite[where] = ~x_0.float().isfinite().flatten(1).all(1).numpy()
            computed[where] = True
            file.save()
            file.report(int(computed.sum()), len(plane))
        lost = int(nonfinite.sum())
        file.data.attrs["warnings"] = (
            [f"{lost} of {nonfinite.size} cells became NaN or Inf and have the label −1"] if lost else []
        )
    return file.data


@accepts_num_steps
def label_of(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: Classifier = LENET,
    reject: bool = ClassifierConfig.reject,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    streams: int = STREAMS_VERSION,
) -> PointLabels:
    """The class of any points (u, v) of a plane, between its cells too, as a function of [n, 2] to whole numbers [n].

    What `dynamics.uncertainty_exponent` asks for; the options are those of `map`.

    >>> where = ds.basins.label_of(denoiser, plane, steps=20)
    >>> ds.dynamics.uncertainty_exponent(where, points, [0.1, 1, 10])

    Args:
        streams: the version of the random streams of a stochastic scheduler's noise; 1 to resume a checkpoint that
            denoscope 0.1 began.
    """
    need_denoiser(denoiser)
    grid = PlaneGrid.of(plane)
    options = InferenceConfig(num_steps=steps, lanes=lanes, extract_states=False)
    classify, told = _classifier(classifier, reject, denoiser)
    loop = Loop.of(options, noise_seed, streams=streams)
    run = _run(denoiser, loop, condition)

    def label(points: Any) -> np.ndarray:
        at = torch.as_tensor(np.asarray(points, dtype=np.float64))
        if at.ndim == 2 and not len(at):
            return np.zeros(0, int)
        x_T = grid.plane.at(at)
        return np.concatenate([classify(run(rows))["label"] for rows in x_T.split(lanes * AT_ONCE)])

    origin = _origin(denoiser, told, grid, options, loop, condition)
    return PointLabels(label, origin, grid.plane.resolution)


def _origin(
    denoiser: Denoiser,
    told: dict[str, Any],
    grid: PlaneGrid,
    options: InferenceConfig,
    loop: Loop,
    condition: Condition,
) -> dict[str, Any]:
    """All that decides the labels of a plane's points."""
    return {
        "model": denoiser.name,
        **told,
        "plane": grid.made_with,
        "condition": condition.of([0]).digest() if condition.inputs else None,
        "fingerprint": provenance.fingerprint(
            denoiser, [], options, loop.noise_seed, condition, streams=loop.streams
        ),
    }


def _run(denoiser: Denoiser, loop: Loop, condition: Condition) -> Callable[[torch.Tensor], torch.Tensor]:
    """x_T to x_0 on the CPU, all told the same."""
    first = of_first(condition)
    return lambda x_T: run_loop(denoiser, x_T, loop, condition=first).cpu()


def _classifier(
    classifier: Classifier, reject: bool, denoiser: Denoiser
) -> tuple[Callable[[torch.Tensor], Answers], dict[str, Any]]:
    """Images to their labels, whether finite or not, and what is told of it."""
    if callable(classifier):
        if reject:
            raise UserError("reject is for LeNet-5; a classifier of your own rejects by the label −1")
        name = getattr(classifier, "__qualname__", type(classifier).__name__)
        return partial(_by_your_own, classifier), {"classifier": name, "reject": False}
    if not isinstance(classifier, (str, os.PathLike)):
        raise UserError(
            f"classifier is {validation.told(classifier)}; allowed: 'lenet', a file of its weights, or a function of images"
        )
    if tuple(denoiser.shape) != DIGIT:
        raise UserError(
            f"{denoiser.name} makes images {list(denoiser.shape)}, which LeNet-5 cannot label; give classifier=, "
            "a function of images"
        )
    weights = None if classifier == LENET else Path(classifier)
    by = labels.Classifier.of(weights, reject=reject)
    parts = nn.ModuleList([part for part in (by.network, by.likeness) if part is not None])
    told = {"classifier": LENET, "classifier_sha256": weights_sha256(parts), "reject": reject}
    return partial(_by_lenet, by), told


def _by_lenet(by: labels.Classifier, images: torch.Tensor) -> Answers:
    found = classify_finite(images.float(), by)
    like = {} if found.likeness is None else {"likeness": found.likeness}
    return {"label": found.label, "confidence": found.confidence, "margin": found.margin} | like


def _by_your_own(label_of: Callable[[torch.Tensor], Any], images: torch.Tensor) -> Answers:
    return {"label": labels.of_images(label_of, images)}


def _empty(grid: PlaneGrid, origin: dict[str, Any], answers: Answers) -> xarray.Dataset:
    """The map in which nothing is computed."""
    import xarray

    cells = {
        name: np.full(grid.shape, REJECTED if name == "label" else np.nan, values.dtype)
        for name, values in answers.items()
    } | {name: np.zeros(grid.shape, bool) for name in ("nonfinite", "computed")}
    identity = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return xarray.Dataset(
        {name: (("y", "x"), values) for name, values in cells.items()},
        coords=grid.coords,
        attrs={**origin, "warnings": [], IDENTITY: {**identity, **origin["fingerprint"]}},
    )
