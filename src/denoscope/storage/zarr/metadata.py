"""The metadata of a store. zarr writes them into memory, so that each file reaches the store whole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from denoscope.storage.array_names import encode
from denoscope.storage.plan import COMPLETE, NONFINITE, Plan

if TYPE_CHECKING:
    import zarr

ZSTD_LEVEL = 1


def metadata_of(plan: Plan, shard_entries: Mapping[str, int]) -> dict[str, bytes]:
    """Return every file of a store by its key, except shards, flags and marks.

    `shard_entries` says how many entries along time a shard of each array holds.
    """
    import zarr
    from zarr.storage import MemoryStore

    files: dict[str, Any] = {}
    auxiliary = [name for name, (dim, _) in plan.coords.items() if name != dim]
    attrs = {**plan.attrs, "coordinates": " ".join([*auxiliary, COMPLETE, NONFINITE])}
    store = MemoryStore(files)
    group = zarr.create_group(store, zarr_format=3, attributes=attrs)
    _create_arrays(group, plan, shard_entries)
    _create_flags(group, plan)
    _create_coordinates(group, plan)
    with warnings.catch_warnings():
        # zarr warns of consolidated metadata, which readers of version 3 support but its specification lacks.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        zarr.consolidate_metadata(store)
    return {name: buffer.to_bytes() for name, buffer in files.items()}


def _create_arrays(group: zarr.Group, plan: Plan, shard_entries: Mapping[str, int]) -> None:
    from zarr.codecs import ZstdCodec

    for array in plan.arrays:
        timed = array.time_dim is not None
        group.create_array(
            encode(array.name),
            shape=(len(plan.samples), *array.shape),
            chunks=(1, *([1] if timed else []), *array.inner),
            shards=(plan.lanes, *([shard_entries[array.name]] if timed else []), *array.inner),
            dtype=array.dtype,
            fill_value=array.missing,
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
