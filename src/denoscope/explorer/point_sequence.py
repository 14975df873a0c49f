"""How the noise of a cell becomes an image: its states, estimates and class probabilities, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from denoscope.basins.classifiers import DigitClassifier
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.coordinates import text_of
from denoscope.explorer.tile_address import CellAddress
from denoscope.figures.shades import images_of, maps_of
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.sampling.step import Step

MOST_LAYERS = 8


def point_sequence(
    atlas: Atlas, cell: CellAddress, layers: Sequence[str] = ()
) -> Iterator[dict[str, Any] | None]:
    """The answer for one cell, after None for each step; see `point_sequences`."""
    for answers in point_sequences(atlas, [cell], layers):
        yield answers[0] if answers else None


def point_sequences(
    atlas: Atlas, cells: Sequence[CellAddress], layers: Sequence[str] = ()
) -> Iterator[list[dict[str, Any]] | None]:
    """One answer for each cell, as JSON values, after None for each step: what it becomes, with the bits that its tile has.

    The cells are of one level, and go through the network together.

    `states` are x_T … x_0, `estimates` the scheduler's estimates of x_0 at each step; both as shades of grey. The
    probabilities are those of the classifier for each estimate, and for x_0 at the end. Under guidance the states of a
    layer are those of both branches, the unconditional one first.

    Raises: UserError if the cell is too deep, or a layer is unknown.
    """
    check_layers(layers)
    level = cells[0].level
    x_T = torch.cat([atlas.plane.noise(cell, atlas.dtype(level)) for cell in cells])
    steps = []
    for step in atlas.denoise(x_T, level, layers):
        steps.append(step)
        yield None
    yield [_answer(atlas, cell, steps, slice(row, row + 1), bool(layers)) for row, cell in enumerate(cells)]


def _answer(
    atlas: Atlas, cell: CellAddress, steps: Sequence[Step], row: slice, with_layers: bool
) -> dict[str, Any]:
    """The answer for the cell in one row of a batch."""
    estimates = [(step.x_before if step.x_0_estimate is None else step.x_0_estimate)[row] for step in steps]
    x_0 = steps[-1].x_after[row]
    return {
        "cell": str(cell),
        "at": text_of(cell, atlas.plane.length),
        **_plain(atlas.labelling(cell.level).classify(x_0.cpu())),
        "precision": name_of(atlas.dtype(cell.level)),
        "timesteps": [step.timestep for step in steps],
        "sigmas": [step.sigma for step in steps],
        "probabilities": _probabilities(atlas, cell, torch.cat([*estimates, x_0])),
        "states": _images([steps[0].x_before[row], *(step.x_after[row] for step in steps)]),
        "estimates": _images([*estimates, x_0]),
        "layers": {
            name: maps_of((step.states[name][row][0].cpu().numpy() for step in steps), len(steps))
            for name in (steps[0].states if with_layers else ())
        },
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
    return source.classifier.probabilities(images.cpu()).round(4).tolist()


def _images(images: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Images, each [1, C, H, W], as bytes."""
    return images_of((image[0].cpu().numpy() for image in images), len(images))


def _plain(answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Answers of a classifier for one image as JSON values: NaN as null."""
    values = {name: array[0].item() for name, array in answers.items()}
    return {name: None if value != value else value for name, value in values.items()}
