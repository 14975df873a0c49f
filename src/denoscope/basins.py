"""Which class each noise of a plane becomes: maps of basins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope import provenance
from denoscope.conditioning import NOTHING, Condition
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.errors import UserError
from denoscope.kept import IDENTITY, keeping
from denoscope.labels import DIGIT, Labels, classify_finite
from denoscope.noise import NoiseSet, plane_points
from denoscope.plane_grid import PlaneGrid
from denoscope.sampling import sample
from denoscope.zoo import lenet

if TYPE_CHECKING:
    import xarray

Classifier = str | os.PathLike[str] | Callable[[torch.Tensor], Any]
LENET = "lenet"
AT_ONCE = 4
"""Groups of lanes that are denoised together where points are asked for one by one."""


def map(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: Classifier = LENET,
    batch_size: int = InferenceConfig.batch_size,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> xarray.Dataset:
    """The class that every noise of a plane becomes: `label`, `confidence`, `margin` and `computed`, all (y, x).

    Rows y run along v and columns x along u, the coordinates of the plane (L2 distances). `label` is −1 where x_0 is NaN
    or Inf, and where nothing is computed yet; `confidence` and `margin` (to the runner-up) are softmaxes of the
    classifier, NaN there. With a classifier of your own there are labels alone.

    >>> found = ds.basins.map(denoiser, ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60)), steps=20)
    >>> ds.dynamics.basin_fractions(found["label"]), ds.dynamics.verdict(found["label"])

    How to read it: basins of the map x_T → x_0 in this plane, through the base noise. When it misleads: the softmax
    is no probability of being right, and a classifier gives some class to what is none. Noise of a stochastic
    scheduler is common to all cells; noise of each cell's own would paint fractals that are not there.

    Args:
        classifier: "lenet"; a file of LeNet-5 weights; or a function of images [n, C, H, W] to whole numbers [n], −1 for
            what is no class.
        batch_size: cells in flight; changes no bit.
        lanes: rows of every network call, on which the last bits depend.
        out: a file (.npz) in which what is finished is kept as it comes; `denoscope.kept.read` opens it.
        resume: go on with what `out` holds. `overwrite` replaces it.
        progress: is told (cells done, all of them).

    Raises: UserError if the noises are no plane, the classifier does not fit, or `out` is taken.
    """
    grid = PlaneGrid.of(plane)
    if tuple(plane.shape) != tuple(denoiser.shape):
        raise UserError(
            f"the plane has shape {list(plane.shape)}; {denoiser.name} takes {list(denoiser.shape)}"
        )
    classify, told = _classifier(classifier, denoiser)
    options = InferenceConfig(num_steps=steps, lanes=lanes, extract_states=False)
    fingerprint = provenance.fingerprint(denoiser, [], options, noise_seed, condition)
    fresh = _empty(grid, {"model": denoiser.name, "classifier": told, "fingerprint": fingerprint}, classifier)
    with keeping(fresh, out, resume=resume, overwrite=overwrite) as file:
        computed = file.data["computed"].values
        left = np.flatnonzero(~computed[grid.rows, grid.columns])
        at_once = -(-batch_size // lanes) * lanes
        for first in range(0, len(left), at_once):
            cells = left[first : first + at_once]
            x_0 = sample(
                denoiser,
                plane.batch(cells.tolist()),
                steps=steps,
                noise_seed=noise_seed,
                condition=condition.of([0] * len(cells)),
                lanes=lanes,
            )
            found = classify(x_0.float().cpu())
            where = grid.rows[cells], grid.columns[cells]
            for name in set(file.data.data_vars) - {"computed"}:
                file.data[name].values[where] = getattr(found, str(name))
            computed[where] = True
            file.save()
            if progress:
                progress(int(computed.sum()), len(plane))
        file.data.attrs["warnings"] = _beware(file.data)
    return file.data


def label_of(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: Classifier = LENET,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
) -> Callable[[Any], np.ndarray]:
    """The class of any points (u, v) of a plane, between its cells too, as a function of [n, 2] to whole numbers [n].

    What `dynamics.uncertainty_exponent` asks for; the options are those of `map`.

    >>> where = ds.basins.label_of(denoiser, plane, steps=20)
    >>> ds.dynamics.uncertainty_exponent(where, points, [0.1, 1, 10])
    """
    made_with = PlaneGrid.of(plane).made_with
    classify, _ = _classifier(classifier, denoiser)

    def labels(points: Any) -> np.ndarray:
        at = torch.as_tensor(np.asarray(points, dtype=np.float64))
        x_T = plane_points(at, denoiser.shape, made_with["base_seed"], made_with["direction_seeds"])
        found = []
        for rows in x_T.split(lanes * AT_ONCE):
            x_0 = sample(
                denoiser,
                rows,
                steps=steps,
                noise_seed=noise_seed,
                condition=condition.of([0] * len(rows)),
                lanes=lanes,
            )
            found.append(classify(x_0.float().cpu()).label)
        return np.concatenate(found)

    return labels


def _classifier(classifier: Classifier, denoiser: Denoiser) -> tuple[Callable[[torch.Tensor], Any], str]:
    """Images to their labels, and what is told of it."""
    if callable(classifier):
        label_of = classifier
        name = getattr(classifier, "__qualname__", type(classifier).__name__)
        return lambda images: _labels(label_of(images), len(images)), name
    if tuple(denoiser.shape) != DIGIT:
        raise UserError(
            f"{denoiser.name} makes images {list(denoiser.shape)}, which LeNet-5 cannot label; give classifier=, "
            "a function of images"
        )
    bundled = classifier == LENET
    weights = lenet.load(None if bundled else Path(classifier))
    told = LENET if bundled else hashlib.sha256(Path(classifier).read_bytes()).hexdigest()
    return lambda images: classify_finite(images, weights=weights), told


def _labels(given: Any, count: int) -> Labels:
    """What a classifier of the user's answered."""
    label = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    if label.shape != (count,) or label.dtype.kind not in "iub":
        raise UserError(
            f"the classifier returned {label.dtype} {list(label.shape)} for {count} images; needed is one whole number each"
        )
    none = np.full(count, np.nan, np.float32)
    return Labels(label=label, confidence=none, margin=none)


def _empty(grid: PlaneGrid, origin: dict[str, Any], classifier: Classifier) -> xarray.Dataset:
    """The map in which nothing is computed."""
    import xarray

    plane = ("y", "x")
    cells = {"label": (plane, np.full(grid.shape, -1))}
    if not callable(classifier):
        cells |= {name: (plane, np.full(grid.shape, np.nan, np.float32)) for name in ("confidence", "margin")}
    cells["computed"] = (plane, np.zeros(grid.shape, bool))
    identity = {"plane": grid.made_with, "classifier": origin["classifier"], **origin["fingerprint"]}
    return xarray.Dataset(
        cells,
        coords=grid.coords,
        attrs={**origin, "plane": grid.made_with, "warnings": [], IDENTITY: identity},
    )


def _beware(found: xarray.Dataset) -> list[str]:
    if "confidence" not in found:
        return []
    lost = int(np.isnan(found["confidence"].to_numpy()).sum())
    return [f"{lost} of {found['label'].size} cells became NaN or Inf and have the label −1"] if lost else []
