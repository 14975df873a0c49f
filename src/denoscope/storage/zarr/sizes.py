"""The size of a store, estimated before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from denoscope.storage import space
from denoscope.storage.plan import Plan
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.layout import shard_entries

METADATA_BYTES = 2000
"""Bytes of the metadata of one array."""
CHECKSUM_BYTES = 12
"""Bytes of one checksum in a mark."""


def needed_bytes(store: ByteStore, plan: Plan, groups: Sequence[int] | None = None) -> int:
    """Return the bytes that some groups, or the whole recording, occupy in a store without compression."""
    if groups is None:
        return space.footprint(store, _layout_sizes(plan)) + needed_bytes(store, plan, plan.groups)
    return space.footprint(store, (size for group in groups for size in _group_sizes(plan, group)))


def _layout_sizes(plan: Plan) -> Iterator[int]:
    """About the bytes of each file that exists before the first group, and one for each folder."""
    # The store's own file, with all attributes.
    yield METADATA_BYTES * (len(plan.arrays) + len(plan.coords) + 4)
    for _ in range(len(plan.arrays) + 2):
        yield from (1, METADATA_BYTES, 1)  # folder, zarr.json, c
    for _, values in plan.coords.values():
        yield from (1, METADATA_BYTES, 1, values.nbytes)
    yield from (1, 1, METADATA_BYTES)  # the store's folder, that of the marks, and layout.json


def _group_sizes(plan: Plan, group: int) -> Iterator[int]:
    """The bytes of each file of a group, and one for each folder."""
    samples, mark = len(plan.samples_of(group)), 0
    for array in plan.arrays:
        most, written = shard_entries(array, plan.lanes), 0
        while written < array.count:
            entries = min(most, array.count - written)
            yield shard.size_of(plan.lanes * most, samples * entries * array.entry_bytes)
            yield from [1] * (len(array.inner) + 1)
            mark += CHECKSUM_BYTES * plan.lanes * most
            written += entries
    yield from (mark, plan.lanes, plan.lanes * (plan.steps + 1), 1)
