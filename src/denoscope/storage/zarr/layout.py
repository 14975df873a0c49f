"""The metadata of a store: made by zarr in memory, so that it reaches the disk file by file, each whole."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.foundation.atomic_files import whole
from denoscope.storage import layout
from denoscope.storage.plan import COMPLETE, FORMAT, FORMAT_VERSION, NONFINITE, ArrayPlan, Plan

if TYPE_CHECKING:
    import zarr

ROOT = "zarr.json"
SHARD_BYTES = 32 * 2**20
ZSTD_LEVEL = 1


def shard_entries(array: ArrayPlan, lanes: int) -> int:
    """How many entries along time one shard holds, so that it stays near SHARD_BYTES."""
    return max(1, min(array.count, SHARD_BYTES // max(1, lanes * array.entry_bytes)))


def content(path: Path) -> dict[str, Any]:
    """What the store's own file says; nothing where it cannot be read."""
    try:
        found = json.loads((path / ROOT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def attributes(path: Path) -> dict[str, Any]:
    """The attributes of a store; nothing where it cannot be read."""
    found = content(path).get("attributes")
    return found if isinstance(found, dict) else {}


def is_recording(path: Path) -> bool:
    return attributes(path).get("format") == FORMAT


def is_laid_out(path: Path) -> bool:
    """Whether all metadata are there; the store's own file gets its share of them last."""
    return is_recording(path) and "consolidated_metadata" in content(path)


def array_metadata(path: Path, name: str) -> dict[str, Any]:
    """The metadata of one array of a store that is laid out."""
    return content(path)["consolidated_metadata"]["metadata"][name]


def set_attribute(path: Path, name: str, value: Any) -> None:
    changed = content(path)
    changed["attributes"][name] = value
    with whole(path / ROOT) as file:
        file.write(json.dumps(changed, indent=2).encode())


def claim(path: Path) -> None:
    """Make a store known as ours before anything else is in it, or while what was there is removed."""
    bare = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format": FORMAT, "format_version": FORMAT_VERSION},
    }
    with whole(path / ROOT) as file:
        file.write(json.dumps(bare).encode())


def marks_of(path: Path) -> Path:
    """The folder of the marks: beside the array's own files, where Zarr readers do not look."""
    return path / COMPLETE / "marks"


def lay_out(path: Path, plan: Plan, former: Mapping[str, Any]) -> None:
    """Write all metadata, the store's own file last; `former` attributes stay, where it had some."""
    files = _metadata(plan)
    rest = json.loads(files.pop(ROOT))
    for name, data in files.items():
        with whole(path / name) as file:
            file.write(data)
    planned = rest.pop("attributes")
    stored = planned | former
    layout.write(marks_of(path), {name: stored[name] for name in planned}, rest, files)
    with whole(path / ROOT) as file:
        file.write(json.dumps({"attributes": stored, **rest}, indent=2).encode())


def _metadata(plan: Plan) -> dict[str, bytes]:
    """Every file of a store but its shards, flags and marks, by its path."""
    import zarr
    from zarr.storage import MemoryStore

    files: dict[str, Any] = {}
    auxiliary = [name for name, (dim, _) in plan.coords.items() if name != dim]
    attrs = {**plan.attrs, "coordinates": " ".join([*auxiliary, COMPLETE, NONFINITE])}
    store = MemoryStore(files)
    group = zarr.create_group(store, zarr_format=3, attributes=attrs)
    _create_arrays(group, plan)
    _create_flags(group, plan)
    _create_coordinates(group, plan)
    with warnings.catch_warnings():
        # An agreed extension of the format, which zarr still warns of.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        zarr.consolidate_metadata(store)
    return {name: buffer.to_bytes() for name, buffer in files.items()}


def _create_arrays(group: zarr.Group, plan: Plan) -> None:
    from zarr.codecs import ZstdCodec

    for array in plan.arrays:
        group.create_array(
            array.name,
            shape=(len(plan.samples), *array.shape),
            chunks=(1, *([1] if array.time_dim else []), *array.inner),
            shards=(
                plan.lanes,
                *([shard_entries(array, plan.lanes)] if array.time_dim else []),
                *array.inner,
            ),
            dtype=array.dtype,
            fill_value=np.nan,
            compressors=[ZstdCodec(level=ZSTD_LEVEL)] if plan.codec == "zstd" else None,
            dimension_names=array.stored_dims,
            config={"write_empty_chunks": True},
        )


def _create_flags(group: zarr.Group, plan: Plan) -> None:
    sizes = {COMPLETE: (), NONFINITE: (plan.steps + 1,)}
    for name, rest in sizes.items():
        group.create_array(
            name,
            shape=(len(plan.samples), *rest),
            chunks=(plan.lanes, *rest),
            dtype=bool,
            fill_value=False,
            compressors=None,
            dimension_names=("sample", "state")[: 1 + len(rest)],
        )


def _create_coordinates(group: zarr.Group, plan: Plan) -> None:
    for name, (dim, values) in plan.coords.items():
        text = values.dtype.kind in "UO"
        coordinate = group.create_array(
            name, shape=values.shape, dtype=str if text else values.dtype, dimension_names=(dim,)
        )
        coordinate[:] = values.astype(object) if text else values
