"""The map that patching makes: how far each cell (layer, step, sample) moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray

CELL = ("layer", "step", "sample")


def empty(
    coords: Mapping[str, Any], labels: Mapping[str, np.ndarray], attrs: Mapping[str, Any]
) -> xarray.Dataset:
    """A map in which nothing is finished: `moved` is NaN and, if the samples have `labels`, `label` is −1."""
    import xarray

    shape = [len(coords[name][1]) for name in CELL]
    cells = {"moved": np.full(shape, np.nan), "done": np.zeros(shape, bool)}
    if labels:
        cells["label"] = np.full(shape, -1)
    return xarray.Dataset(
        {name: (CELL, values) for name, values in cells.items()}
        | {name: ("sample", values) for name, values in labels.items()},
        coords=coords,
        attrs=attrs,
    )


def put(
    patched: xarray.Dataset,
    step: int,
    cells: Sequence[tuple[int, int]],
    moved: np.ndarray,
    label: np.ndarray | None,
) -> None:
    """Enter the results of some cells (layer, sample) of one step; all are given by their positions in the map."""
    layers, samples = (list(part) for part in zip(*cells, strict=True))
    where = layers, step, samples
    patched["moved"].values[where] = moved
    patched["done"].values[where] = True
    if label is not None:
        patched["label"].values[where] = label


def table(patched: xarray.Dataset) -> str:
    """How far x_0 moved, as the mean over samples: one line for each layer, one column for each step.

    If the map has digits, a second block follows: the share that became B's digit, of the samples whose digits in A
    and B differ.
    """
    blocks = [_block("moved", patched["moved"].mean("sample"))]
    if "label" in patched:
        differing = patched.isel(sample=(patched["label_a"] != patched["label_b"]).to_numpy())
        if differing.sizes["sample"]:
            became = differing["label"] == differing["label_b"]
            blocks.append(_block("digit of B", became.mean("sample")))
    return "\n".join(blocks)


def _block(title: str, values: xarray.DataArray) -> str:
    """Values (layer, step) under a heading."""
    layers, steps = (values[name].to_numpy().tolist() for name in ("layer", "step"))
    width = max(map(len, [title, *layers]))
    lines = [f"{title:<{width}}" + "".join(f"{f'step {step}':>9}" for step in steps)]
    lines += [
        f"{layer:<{width}}" + "".join(f"{value:9.3f}" for value in row)
        for layer, row in zip(layers, values.to_numpy(), strict=True)
    ]
    return "\n".join(lines)
