"""The map that patching makes: how far each cell (layer, step, sample) moved, in a file as it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.errors import UserError
from denoscope.files import replacing

if TYPE_CHECKING:
    import xarray

CELL = ("layer", "step", "sample")


def empty(
    coords: Mapping[str, Any], labels: Mapping[str, np.ndarray], attrs: Mapping[str, Any]
) -> xarray.Dataset:
    """A map in which nothing is finished: moved NaN and, where there are `labels` of the samples, label −1."""
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


def begun(fresh: xarray.Dataset, path: Path | None, *, resume: bool, overwrite: bool) -> xarray.Dataset:
    """The fresh map, or the one of the same identity that is to be gone on with."""
    if resume and overwrite:
        raise UserError("resume and overwrite contradict each other; take one of them")
    if path is None or not path.exists() or overwrite:
        return fresh
    if not resume:
        raise UserError(f"{path} exists; go on with it (resume), replace it (overwrite) or name another")
    found = read(path)
    if found.attrs.get("identity") != fresh.attrs["identity"]:
        raise UserError(
            f"{path} holds patches of other recordings, layers or steps, or of another device or number of threads; name another "
            "file, or overwrite it"
        )
    return found


def put(
    patched: xarray.Dataset,
    step: int,
    cells: Sequence[tuple[int, int]],
    moved: np.ndarray,
    label: np.ndarray | None,
) -> None:
    """Take in what cells (layer, sample) of one step came to, all by their places."""
    layers, samples = (list(part) for part in zip(*cells, strict=True))
    where = layers, step, samples
    patched["moved"].values[where] = moved
    patched["done"].values[where] = True
    if label is not None:
        patched["label"].values[where] = label


def write(patched: xarray.Dataset, path: Path) -> None:
    """Write a map to a file (.npz), whole or not at all."""
    told = {
        "dims": {str(name): list(values.dims) for name, values in patched.data_vars.items()},
        "coords": {
            str(name): [values.dims[0], values.to_numpy().tolist()] for name, values in patched.coords.items()
        },
        "attrs": patched.attrs,
    }
    arrays: dict[str, Any] = {str(name): values.to_numpy() for name, values in patched.data_vars.items()}
    with replacing(path) as file:
        np.savez(file, told=np.array(json.dumps(told)), **arrays)


def read(path: str | os.PathLike[str]) -> xarray.Dataset:
    """What `write` has written; cells that are not finished are NaN, their label −1."""
    import xarray

    try:
        with np.load(Path(path), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        told = json.loads(str(arrays.pop("told")))
        return xarray.Dataset(
            {name: (told["dims"][name], values) for name, values in arrays.items()},
            coords={name: (dim, np.array(values)) for name, (dim, values) in told["coords"].items()},
            attrs=told["attrs"],
        )
    except Exception as error:  # a damaged file can make the reader fail in any way
        reason = getattr(error, "strerror", None) or "it is no map of patches, or damaged"
        raise UserError(f"cannot read {path}: {reason}; name a file that patch has written") from error


def table(patched: xarray.Dataset) -> str:
    """How far x_0 moved, in the mean over the samples: one line for each layer, one column for each step.

    Below it, where there are digits: the share of the samples that became B's digit, of those whose own was another.
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
