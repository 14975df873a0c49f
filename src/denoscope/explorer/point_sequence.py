"""How the noise of a cell becomes an image: its states, estimates and class probabilities, step by step."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from denoscope.basins.classifiers import DigitClassifier
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.coordinates import text_of
from denoscope.explorer.tile_address import CellAddress
from denoscope.foundation.errors import UserError
from denoscope.sampling.loop import denoise
from denoscope.sampling.step import Step

MOST_LAYERS = 8
MOST_MAPS = 16
"""Channels of a layer that are shown."""
MOST_BYTES = 4 * 2**20
"""Of pictures in one answer."""


def point_sequence(
    atlas: Atlas, cell: CellAddress, layers: Sequence[str] = ()
) -> Iterator[dict[str, Any] | None]:
    """One answer, as JSON values, after None for each step: what a cell becomes, with the bits that its tile has.

    `states` are x_T … x_0, `estimates` the scheduler's estimates of x_0 at each step; both as shades of grey. The
    probabilities are those of the classifier for each estimate, and for x_0 at the end.

    Raises: UserError if the cell is too deep, or a layer is unknown.
    """
    check_layers(layers)
    scene, denoiser = atlas.scene, atlas.denoiser(cell.level)
    x_T = atlas.plane.noise(cell, atlas.dtype(cell.level))
    steps = []
    for step in denoise(
        denoiser, x_T, steps=scene.steps, layers=list(layers), noise_seed=scene.noise_seed, lanes=scene.lanes
    ):
        steps.append(step)
        yield None
    estimates = [step.x_before if step.x_0_estimate is None else step.x_0_estimate for step in steps]
    x_0 = steps[-1].x_after
    yield {
        "cell": str(cell),
        "at": text_of(cell, atlas.plane.length),
        **_plain(atlas.labelling(cell.level).classify(x_0.cpu())),
        "precision": str(atlas.dtype(cell.level)).removeprefix("torch."),
        "timesteps": [step.timestep for step in steps],
        "sigmas": [step.sigma for step in steps],
        "probabilities": _probabilities(atlas, cell, torch.cat([*estimates, x_0])),
        "states": pictures([steps[0].x_before, *(step.x_after for step in steps)]),
        "estimates": pictures([*estimates, x_0]),
        "layers": {name: _maps(steps, name) for name in (steps[0].states if layers else ())},
    }


def check_layers(layers: Sequence[str]) -> None:
    """Refuse too many layers.

    Raises: UserError
    """
    if len(layers) > MOST_LAYERS:
        raise UserError(f"layers are {len(layers)}; allowed: {MOST_LAYERS}")


def _probabilities(atlas: Atlas, cell: CellAddress, images: torch.Tensor) -> list[list[float]]:
    """The softmax of each class for images [n, C, H, W], rounded to four decimals."""
    source = atlas.classifier(cell.level)
    if not isinstance(source, DigitClassifier) or not images.isfinite().all():
        return []
    return source.classifier.probabilities(images.float().cpu()).round(4).tolist()


def pictures(images: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Images, each [1, C, H, W], as bytes; channels one below the other, the range −r … r of each as 0 … 255.

    r is 1, or the largest absolute value of the image if that is more.
    """
    stack = torch.cat(list(images)).double().cpu().numpy()
    count, channels, height, width = stack.shape
    ranges = np.nan_to_num(np.abs(stack).reshape(count, -1).max(1), nan=1.0, posinf=1.0).clip(1)
    shades = (
        np.nan_to_num((stack / ranges[:, None, None, None] + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    )
    return {
        "count": count,
        "height": channels * height,
        "width": width,
        "ranges": [float(f"{value:.4g}") for value in ranges],
        "data": base64.b64encode(shades.tobytes()).decode(),
    }


def _maps(steps: Sequence[Step], name: str) -> dict[str, Any]:
    """The states of a layer at each step: up to 16 channels of maps, or one row of numbers."""
    states = torch.stack([step.states[name][0] for step in steps]).double().cpu().numpy()
    states = (
        states.reshape(len(steps), -1, *states.shape[-2:])
        if states.ndim >= 4
        else states.reshape(len(steps), 1, 1, -1)
    )
    shown = states[:, :MOST_MAPS]
    if shown.size > MOST_BYTES:
        raise UserError(f"layers: {name} has {shown.size:,} numbers in all steps; allowed: {MOST_BYTES:,}")
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    shades = np.nan_to_num((shown - low) * (255 / ((high - low) or 1))).round().clip(0, 255).astype(np.uint8)
    return {
        "channels": shown.shape[1],
        "of": states.shape[1],
        "height": shown.shape[2],
        "width": shown.shape[3],
        "low": float(f"{low:.4g}"),
        "high": float(f"{high:.4g}"),
        "norms": [float(f"{value:.4g}") for value in np.linalg.norm(states.reshape(len(steps), -1), axis=1)],
        "data": base64.b64encode(shades.tobytes()).decode(),
    }


def _plain(answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Answers of a classifier for one image as JSON values: NaN as null."""
    values = {name: array[0].item() for name, array in answers.items()}
    return {name: None if value != value else value for name, value in values.items()}
