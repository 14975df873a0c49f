"""Where everything lies in a folder of .pt files, and the manifest, which describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from denoscope.storage import layout_checksums
from denoscope.storage.array_names import encode
from denoscope.storage.plan import ESTIMATES, FORMAT, ArrayPlan, Plan
from denoscope.storage.stores.byte_store import ByteStore, is_key

MANIFEST = "recording.json"
MARKS = ".recording"
"""The folder of the completion marks, and of temporary files: what a killed process leaves there is known as ours."""
LOCK = f"{MARKS}/lock"


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


def content(store: ByteStore) -> dict[str, Any]:
    """Return the content of the manifest; nothing if it is missing or damaged."""
    try:
        found = json.loads(store.get(MANIFEST) or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def attributes(store: ByteStore) -> dict[str, Any]:
    """Return the attributes of a recording; nothing if they are missing or damaged."""
    found = content(store).get("attrs")
    return found if isinstance(found, dict) else {}


def set_attribute(store: ByteStore, name: str, value: Any) -> None:
    """Write one attribute into a recording."""
    found = content(store)
    found["attrs"][name] = value
    _write_manifest(store, found)


def is_recording(store: ByteStore) -> bool:
    """Return whether there is a recording in the folder."""
    return attributes(store).get("format") == FORMAT


def former_files(store: ByteStore) -> list[str]:
    """Return the keys of the samples of the recording in a folder, if there is one."""
    if not is_recording(store):
        return []
    found = content(store)
    files = [
        file_of(array["name"], sample, found["layer_folders"])
        for array in found["arrays"]
        for sample in found["samples"]
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
    layout_checksums.write(store, MARKS, {name: attrs[name] for name in plan.attrs}, rest, {})
    _write_manifest(store, {"attrs": attrs, **rest})


def _write_manifest(store: ByteStore, content: dict[str, Any]) -> None:
    store.put(MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def array_of(entry: Mapping[str, Any]) -> ArrayPlan:
    """Return an array as the manifest describes it."""
    return ArrayPlan(
        entry["name"],
        tuple(entry["inner"]),
        tuple(entry["inner_dims"]),
        np.dtype(entry["dtype"]),
        entry["time_dim"],
        entry["count"],
    )
