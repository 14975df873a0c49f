"""The keys of everything in a store, and the store's root file, which describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import layout_checksums
from denoscope.storage.array_names import encode
from denoscope.storage.attribute_schema import MOST_SAMPLES, Attributes, Extent, Lanes, Samples, States
from denoscope.storage.plan import COMPLETE, FORMAT, FORMAT_VERSION, NONFINITE, ArrayPlan, Plan
from denoscope.storage.root_file import Root, RootFile
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import each

ROOT = "zarr.json"
MARKS = f"{COMPLETE}/marks"
"""The folder of the completion marks: below an array, where Zarr readers do not look."""
LOCK = f"{COMPLETE}/lock"
SCRATCH = ""
"""Temporary files lie beside the final ones."""
BARE = {
    "zarr_format": 3,
    "node_type": "group",
    "attributes": {"format": FORMAT, "format_version": FORMAT_VERSION},
}
"""The content of the store's own file until the store is laid out."""
SHARD_BYTES = 32 * 2**20


def shard_entries(array: ArrayPlan, lanes: int) -> int:
    """Return how many entries along time one shard holds, so that its size stays near SHARD_BYTES."""
    return max(1, min(array.count, SHARD_BYTES // max(1, lanes * array.entry_bytes)))


def chunks_of(array: str, group: int) -> str:
    """Return the key of a group's chunks of an array, which may have further parts."""
    return f"{encode(array)}/c/{group}"


@dataclass(frozen=True)
class Consolidated:
    """The metadata of all arrays, and of groups among them."""

    metadata: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ZarrRoot:
    """The content of the store's own file."""

    attributes: Attributes
    consolidated_metadata: Consolidated


@dataclass(frozen=True)
class Node:
    """The metadata of an array that this package reads itself; zarr reads the others."""

    shape: list[Annotated[int, Meta(ge=0, le=2**62)]]


@dataclass(frozen=True)
class Chunks:
    """The chunks of the flags of samples: a group each."""

    chunk_shape: tuple[Lanes]


@dataclass(frozen=True)
class Grid:
    configuration: Chunks


@dataclass(frozen=True)
class CompleteNode:
    """The metadata of the flags of samples."""

    shape: tuple[Samples]
    chunk_grid: Grid


@dataclass(frozen=True)
class NonfiniteNode:
    """The metadata of the flags of states."""

    shape: tuple[Samples, States]


FILE = RootFile(ROOT, "attributes", MARKS, ZarrRoot, indent=2)


def is_laid_out(root: Root[ZarrRoot]) -> bool:
    """Return whether all metadata are there; the store's own file is written last."""
    return root.is_recording and "consolidated_metadata" in root.content


def is_claimed(root: Root[ZarrRoot]) -> bool:
    """Return whether a store is identified as a recording and was not laid out yet."""
    return root.content == BARE


def extent(root: Root[ZarrRoot]) -> Extent:
    """Return the planned size of a store that is laid out.

    Raises: MalformedError if its metadata are damaged, or claim more than a recording may hold.
    """
    nodes = root.checked.consolidated_metadata.metadata
    for name, node in nodes.items():
        if node.get("node_type") == "array":
            shape = json_files.check(node, Node, _label(name)).shape
            if len(shape) == 1 and shape[0] > MOST_SAMPLES:
                raise MalformedError(f"{_label(name)} has shape {shape}; allowed: at most {MOST_SAMPLES:,}")
    complete = json_files.check(nodes.get(COMPLETE), CompleteNode, _label(COMPLETE))
    nonfinite = json_files.check(nodes.get(NONFINITE), NonfiniteNode, _label(NONFINITE))
    return Extent(complete.shape[0], complete.chunk_grid.configuration.chunk_shape[0], nonfinite.shape[1])


def _label(array: str) -> str:
    return f"{ROOT} (array {array})"


def claim(store: ByteStore) -> None:
    """Identify the store as a recording before it holds anything else, or before a former recording is removed."""
    store.put(ROOT, json.dumps(BARE).encode())


def lay_out(store: ByteStore, plan: Plan, former: Mapping[str, Any]) -> None:
    """Write all metadata, the store's own file last. Attributes in `former` take precedence over the plan's."""
    from denoscope.storage.zarr.metadata import metadata_of

    files = metadata_of(plan, {array.name: shard_entries(array, plan.lanes) for array in plan.arrays})
    rest = json_files.parse(files.pop(ROOT), dict[str, Any], ROOT)
    list(each(store, lambda name: store.put(name, files[name]), files))
    planned = rest.pop("attributes")
    stored = planned | former
    layout_checksums.write(store, MARKS, stored, rest, files)
    FILE.write(store, {"attributes": stored, **rest})


def check_names(store: ByteStore, root: Root[ZarrRoot], addresses: Iterable[str]) -> None:
    """Check that a store with this root file holds its arrays where they are written today.

    Raises: UserError if denoscope 0.1 wrote an array where readers do not find it.
    """
    stored = root.content["consolidated_metadata"]["metadata"]
    for address in addresses:
        if encode(address) not in stored:
            raise UserError(
                f"{store} stores layer {address!r} in groups of its own, as denoscope 0.1 did, where xarray does not "
                "find it"
            )
