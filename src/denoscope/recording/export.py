"""Finished samples of a recording as files for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.foundation.validation import parse_choice
from denoscope.recording.recorded_states import RecordedStates
from denoscope.storage import completion, export, formats
from denoscope.storage.output_lock import is_same_work
from denoscope.storage.plan import COMPLETE, IMAGES, NONFINITE, ArrayPlan, Plan, Unit
from denoscope.storage.pt.layout import MARKS
from denoscope.storage.pt.writer import PtWriter

if TYPE_CHECKING:
    import xarray

FORMATS = ("pt", "safetensors", "npz")


def write(dataset: xarray.Dataset, folder: Path, format: str) -> Path:
    """Write the finished samples of a recording into a folder; returns the folder.

    Raises: UserError if the format is not one of FORMATS, or a file would be replaced.
    """
    if parse_choice(format, "format", FORMATS) == "pt":
        _write_pt(dataset, folder)
    else:
        export.write(folder, format, _finished_samples(dataset))  # type: ignore[arg-type]
    return folder


def _finished_samples(dataset: xarray.Dataset) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Name and arrays of each finished sample, read one after the other."""
    for row in np.flatnonzero(dataset[COMPLETE].to_numpy()):
        arrays = {str(name): dataset[name][row].to_numpy() for name in dataset.data_vars}
        yield str(dataset["sample"].to_numpy()[row]), arrays


def _write_pt(dataset: xarray.Dataset, folder: Path) -> None:
    """Write the layout of .pt files, group by group. An export that was interrupted is continued."""
    plan, store = _plan_of(dataset), formats.store_of(folder, "pt")
    complete = dataset[COMPLETE].to_numpy()
    groups = [group for group in plan.groups if complete[plan.samples_of(group)].all()]
    begun = formats.attributes(store)
    unfinished = begun and is_same_work(begun, plan.attrs) and set(groups) - completion.marked(store, MARKS)
    with PtWriter.opened(store, plan, "resume" if unfinished else "refuse") as writer:
        for group in groups:
            if group not in writer.finished:
                with writer.unit([group]) as unit:
                    _copy(dataset, plan, plan.samples_of(group), unit)


def _copy(dataset: xarray.Dataset, plan: Plan, samples: range, unit: Unit) -> None:
    rows = slice(samples.start, samples.stop)
    for array in plan.arrays:
        stored = dataset[array.name]
        for entry in range(array.count):
            place = (rows, entry) if array.time_dim else (rows,)
            unit.append(array.name, torch.from_numpy(stored[place].to_numpy()))
    for flags in dataset[NONFINITE].to_numpy()[rows].T:
        unit.flag(flags)


def _plan_of(dataset: xarray.Dataset) -> Plan:
    """The plan of a folder of .pt files with the same content."""
    states = RecordedStates(dataset)
    images = {name: dataset[name] for name in IMAGES if name in dataset}
    return Plan(
        samples=tuple(str(name) for name in dataset["sample"].to_numpy()),
        steps=dataset.sizes["state"] - 1,
        lanes=dataset.attrs["fingerprint"]["lanes"],
        arrays=tuple(_array_plan(name, array) for name, array in {**images, **states}.items()),
        coords={
            str(name): (str(values.dims[0]), values.to_numpy())
            for name, values in dataset.coords.items()
            if name not in (COMPLETE, NONFINITE)
        },
        attrs=dataset.attrs,
        format="pt",
        layer_folders=dataset.attrs["layer_folders"],
    )


def _array_plan(name: str, array: Any) -> ArrayPlan:
    time_dim = next((dim for dim in ("state", "step") if dim in array.dims), None)
    inner = 2 if time_dim else 1
    dims = tuple(str(dim) for dim in array.dims[inner:])
    count = array.sizes[time_dim] if time_dim else 1
    return ArrayPlan(name, array.shape[inner:], dims, array.dtype, time_dim, count)
