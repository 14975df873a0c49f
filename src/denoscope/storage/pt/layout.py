"""The keys of everything in a folder of .pt files, and the manifest, which describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from msgspec import Meta

from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import layout_checksums
from denoscope.storage.array_names import encode
from denoscope.storage.attribute_schema import Attributes, Extent, States
from denoscope.storage.plan import ESTIMATES, ArrayPlan, Plan
from denoscope.storage.root_file import Root, RootFile
from denoscope.storage.stores.byte_store import ByteStore, is_key

MANIFEST = "recording.json"
MARKS = ".recording"
"""The folder of completion marks and temporary files: files that a killed process leaves there are recognizably ours."""
LOCK = f"{MARKS}/lock"
SCRATCH = MARKS
"""The folder of temporary files."""


def file_of(array: str, sample: str, layer_folders: Mapping[str, str]) -> str:
    """Return the key of one sample of one array.

    A layer has the folder that `layer_folders` names, or one of its address. Addresses with a slash have nested folders,
    as long as these are valid keys.
    """
    if array == "sequence":
        return f"sequences/{sample}_sequence.pt"
    if array == "final":
        return f"final_tensors/{sample}.pt"
    if array == ESTIMATES:
        return f"{ESTIMATES}/{sample}.pt"
    folder = layer_folders.get(array, array)
    return f"{folder if is_key(folder) else encode(folder)}/{sample}_trajectory.pt"


def files_of(plan: Plan) -> list[str]:
    """Return the keys of all samples of all arrays."""
    return [file_of(array.name, name, plan.layer_folders) for array in plan.arrays for name in plan.samples]


@dataclass(frozen=True)
class ArrayEntry:
    """An array as the manifest describes it."""

    name: str
    inner: list[Annotated[int, Meta(ge=0, le=2**62)]]
    inner_dims: list[str]
    dtype: str
    time_dim: Literal["state", "step"] | None
    count: States


@dataclass(frozen=True)
class Manifest:
    """The content of the manifest. A coordinate is its dimension and its values."""

    attrs: Attributes
    samples: list[str]
    arrays: list[ArrayEntry]
    coords: dict[str, tuple[str, list[bool | int | float | str]]]
    layer_folders: dict[str, str]


FILE = RootFile(MANIFEST, "attrs", MARKS, Manifest, indent=1, ending="\n")


def is_claimed(_root: Root[Manifest]) -> bool:
    """Return whether a folder is identified as a recording and was not laid out yet: never, since one file does both."""
    return False


def is_laid_out(root: Root[Manifest]) -> bool:
    """Return whether a folder has a manifest."""
    return root.is_recording


def extent(root: Root[Manifest]) -> Extent:
    """Return the planned size of a recording.

    Raises: MalformedError if its manifest is damaged, or names files that are not inside of the folder.
    """
    checked = root.checked
    for array in checked.arrays:
        if len(array.inner) != len(array.inner_dims):
            raise MalformedError(
                f"{MANIFEST} has {array.name} of shape {array.inner}, with dimensions {array.inner_dims}"
            )
    for array, sample in product(checked.arrays, checked.samples):
        if not is_key(key := file_of(array.name, sample, checked.layer_folders)):
            raise MalformedError(f"{MANIFEST} names the file {key!r}; allowed: files inside of the folder")
    states = len(checked.coords["state"][1]) if "state" in checked.coords else 0
    return Extent(len(checked.samples), checked.attrs.fingerprint.lanes, states)


def former_files(store: ByteStore) -> list[str]:
    """Return the keys of the samples of the recording in a folder, if there is one."""
    try:
        checked = FILE.read(store).checked
    except MalformedError:
        return []
    files = [
        file_of(array.name, sample, checked.layer_folders)
        for array, sample in product(checked.arrays, checked.samples)
    ]
    # A manifest can name anything.
    return [key for key in files if is_key(key)]


def lay_out(store: ByteStore, plan: Plan, former: Mapping[str, Any]) -> None:
    """Write the manifest. Attributes in `former` take precedence over the plan's."""
    attrs = {**plan.attrs, **former}
    rest = {
        "samples": list(plan.samples),
        "arrays": [
            {
                "name": array.name,
                "inner": list(array.inner),
                "inner_dims": list(array.inner_dims),
                "dtype": str(array.dtype),
                "time_dim": array.time_dim,
                "count": array.count,
            }
            for array in plan.arrays
        ],
        "coords": {name: [dim, values.tolist()] for name, (dim, values) in plan.coords.items()},
        "layer_folders": dict(plan.layer_folders),
    }
    layout_checksums.write(store, MARKS, attrs, rest, {})
    FILE.write(store, {"attrs": attrs, **rest})


def array_of(entry: ArrayEntry) -> ArrayPlan:
    """Return an array as the manifest describes it.

    Raises: MalformedError if there is no such dtype.
    """
    import numpy as np

    try:
        dtype = np.dtype(entry.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biufc":
        raise MalformedError(
            f"{MANIFEST} has {entry.name} of dtype {entry.dtype!r}; allowed: numbers, such as float32"
        )
    return ArrayPlan(
        entry.name, tuple(entry.inner), tuple(entry.inner_dims), dtype, entry.time_dim, entry.count
    )
