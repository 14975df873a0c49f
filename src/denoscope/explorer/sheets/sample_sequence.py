"""One sample of a recording, step by step, and two of them side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.trajectories.recorded_pairs import ESTIMATE
from denoscope.dynamics.trajectories.separations import separations
from denoscope.explorer.point_sequence import check_layers
from denoscope.figures.shades import images_of, maps_of
from denoscope.figures.sheets.sheet import Sheet
from denoscope.figures.sheets.sheet_labels import SheetLabels
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import xarray


def sample_sequence(
    sheet: Sheet, labels: SheetLabels, name: str, layers: Sequence[str] = ()
) -> Iterator[dict[str, Any] | None]:
    """One answer, as JSON values, after None for each piece of work: what was recorded of a sample.

    `states` are x_T … x_0, `estimates` the scheduler's estimates of x_0, if they were recorded, and `layers` the states of
    the layers; `steps` says in which step each of these was computed.

    Raises: UserError if there is no such finished sample, a layer was not recorded, or a file is damaged.
    """
    check_layers(layers)
    row, recording = sheet.row(name), sheet.recording
    found = {layer: recording.states[layer] for layer in layers}
    states = sheet.states(row)
    label, confidence = labels[row]
    answer = {
        "sample": name,
        "row": row,
        "label": label,
        "confidence": confidence,
        "facts": sheet.facts(row),
        "precision": str(states.dtype),
        "states": images_of((state.to_numpy() for state in states), len(states)),
    }
    yield None
    answer |= _estimates(sheet, labels, row)
    yield None
    maps = {}
    for layer, array in found.items():
        entries = array[row]
        maps[layer] = {
            **maps_of((entry.to_numpy() for entry in entries), len(entries)),
            "steps": _steps(array),
        }
        yield None
    yield answer | {"layers": maps}


def sample_pair(
    sheet: Sheet, labels: SheetLabels, names: tuple[str, str], layers: Sequence[str] = ()
) -> Iterator[dict[str, Any] | None]:
    """One answer, as JSON values, after None for each array: how far two samples are apart.

    `separation` holds the L2 distance of the states x_T … x_0, and `layers` that of the states of each layer by step, None
    in steps that were not recorded; both as `ds.dynamics.divergence` computes them. `ends` are the labels of both samples,
    and `classes` those of their recorded estimates and of x_0.

    Raises: UserError as `sample_sequence` does, and if a state is not finite.
    """
    check_layers(layers)
    rows = tuple(map(sheet.row, names))
    if rows[0] == rows[1]:
        raise UserError(f"both samples are {names[0]}; choose another one to compare it with")
    pair, samples = [(rows[1], rows[0])], sheet.recording.samples
    recording, steps = sheet.recording, sheet.recording.dataset.sizes["state"] - 1
    if "sequence" in recording.dataset:
        apart = separations(recording.sequence, pair, "x", samples)[0, 0]
    else:
        finals = np.stack([sheet.states(row).to_numpy() for row in rows])
        apart = separations(finals, [(1, 0)], "x_0", names)[0, 0]
    places = {ESTIMATE: recording.estimates} if sheet.has_estimates else {}
    by_step = {}
    for name, states in (places | {name: recording.states[name] for name in layers}).items():
        measured = separations(states, pair, name, samples)[0, 0]
        values: list[float | None] = [None] * steps
        for step, value in zip(_steps(states), measured.tolist(), strict=True):
            values[step] = value
        by_step[name] = values
        yield None
    yield {
        "samples": list(names),
        "separation": apart.tolist(),
        "layers": by_step,
        "ends": [labels[row][0] for row in rows],
        "classes": [_classes(sheet, labels, row) for row in rows] if sheet.has_estimates else None,
        "precision": str(sheet.states(rows[0]).dtype),
    }


def _estimates(sheet: Sheet, labels: SheetLabels, row: int) -> dict[str, Any]:
    """The estimates of a sample and x_0, if they were recorded, and the probabilities of each class for them."""
    steps, images = _with_x_0(sheet, row)
    probabilities: list[list[float]] = [[] for _ in range(steps[-1] + 1)]
    for step, values in zip(steps, labels.probabilities(images), strict=True):
        probabilities[step] = values
    shown = {**images_of(images, len(images)), "steps": steps} if sheet.has_estimates else None
    return {"estimates": shown, "probabilities": probabilities}


def _classes(sheet: Sheet, labels: SheetLabels, row: int) -> list[int | None]:
    """The class of each recorded estimate, and of x_0; None where it is unknown."""
    return [
        int(np.argmax(values)) if values else None
        for values in labels.probabilities(_with_x_0(sheet, row)[1])
    ]


def _with_x_0(sheet: Sheet, row: int) -> tuple[list[int], np.ndarray]:
    """The recorded estimates of a sample followed by x_0, and the states from which they were made."""
    x_0, last = sheet.recording.final[row].to_numpy()[None], len(sheet.states(row)) - 1
    estimates = sheet.estimates(row)
    if estimates is None:
        return [last], x_0
    return [*_steps(estimates), last], np.concatenate([estimates.to_numpy(), x_0])


def _steps(states: xarray.DataArray) -> list[int]:
    """The step in which each entry was computed."""
    return states["step"].to_numpy().tolist()
