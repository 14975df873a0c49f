"""Where everything lies in a store, and the store's own file, which describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.storage import layout_checksums
from denoscope.storage.array_names import encode
from denoscope.storage.plan import COMPLETE, FORMAT, FORMAT_VERSION, ArrayPlan, Plan
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr.metadata import metadata_of

ROOT = "zarr.json"
MARKS = f"{COMPLETE}/marks"
"""The folder of the completion marks: below an array, where Zarr readers do not look."""
LOCK = f"{COMPLETE}/lock"
SHARD_BYTES = 32 * 2**20


def shard_entries(array: ArrayPlan, lanes: int) -> int:
    """Return how many entries along time one shard holds, so that its size stays near SHARD_BYTES."""
    return max(1, min(array.count, SHARD_BYTES // max(1, lanes * array.entry_bytes)))


def chunks_of(array: str, group: int) -> str:
    """Return the key of a group's chunks of an array, which may have further parts."""
    return f"{encode(array)}/c/{group}"


def content(store: ByteStore) -> dict[str, Any]:
    """Return what the store's own file says; nothing if it is missing or damaged."""
    try:
        found = json.loads(store.get(ROOT) or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def attributes(store: ByteStore) -> dict[str, Any]:
    """Return the attributes of a store; nothing if they are missing or damaged."""
    found = content(store).get("attributes")
    return found if isinstance(found, dict) else {}


def is_recording(store: ByteStore) -> bool:
    """Return whether there is a recording in the store."""
    return attributes(store).get("format") == FORMAT


def is_laid_out(store: ByteStore) -> bool:
    """Return whether all metadata are there; the store's own file is written last."""
    return is_recording(store) and "consolidated_metadata" in content(store)


def array_metadata(store: ByteStore, name: str) -> dict[str, Any]:
    """Return the metadata of one array of a store that is laid out."""
    return content(store)["consolidated_metadata"]["metadata"][name]


def set_attribute(store: ByteStore, name: str, value: Any) -> None:
    """Write one attribute into a recording."""
    changed = content(store)
    changed["attributes"][name] = value
    store.put(ROOT, json.dumps(changed, indent=2).encode())


def claim(store: ByteStore) -> None:
    """Identify the store as a recording before it holds anything else, or before a former recording is removed."""
    bare = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format": FORMAT, "format_version": FORMAT_VERSION},
    }
    store.put(ROOT, json.dumps(bare).encode())


def lay_out(store: ByteStore, plan: Plan, former: Mapping[str, Any]) -> None:
    """Write all metadata, the store's own file last. Attributes in `former` take precedence over the plan's."""
    files = metadata_of(plan, {array.name: shard_entries(array, plan.lanes) for array in plan.arrays})
    rest = json.loads(files.pop(ROOT))
    for name, data in files.items():
        store.put(name, data)
    planned = rest.pop("attributes")
    stored = planned | former
    layout_checksums.write(store, MARKS, {name: stored[name] for name in planned}, rest, files)
    store.put(ROOT, json.dumps({"attributes": stored, **rest}, indent=2).encode())


def check_names(store: ByteStore, addresses: Iterable[str]) -> None:
    """Check that a store holds its arrays where they are written today.

    Raises: UserError if denoscope 0.1 wrote an array where readers do not find it.
    """
    stored = content(store)["consolidated_metadata"]["metadata"]
    for address in addresses:
        if encode(address) not in stored:
            raise UserError(
                f"{store} stores layer {address!r} in groups of its own, as denoscope 0.1 did, where xarray does not "
                "find it"
            )
