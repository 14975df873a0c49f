"""Comparison of a store with its marks: every chunk and every file of metadata is read again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from denoscope.storage import layout_checksums
from denoscope.storage.array_names import encode
from denoscope.storage.completion import Mark
from denoscope.storage.plan import COMPLETE, NONFINITE
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.layout import MARKS, ROOT, array_metadata, chunks_of, content


def extent(store: ByteStore) -> tuple[int, int]:
    """Return the number of samples that a recording is planned for, and how many of them form a group."""
    flags = array_metadata(store, COMPLETE)
    return flags["shape"][0], flags["chunk_grid"]["configuration"]["chunk_shape"][0]


def claimed(store: ByteStore, group: int) -> str:
    """Return the key that shows plain readers that a group is complete, or "" if none does."""
    key = chunks_of(COMPLETE, group)
    return key if any(store.get(key) or b"") else ""


def damaged_layout(store: ByteStore) -> Iterator[str]:
    """Describe in one line each damaged file that belongs to no group."""
    rest = content(store)
    attributes = rest.pop("attributes", {})
    yield from layout_checksums.damaged(store, MARKS, ROOT, attributes, rest)


def damaged(store: ByteStore, group: int, mark: Mark) -> Iterator[str]:
    """Describe in one line each damaged file or chunk of a finished group."""
    _, lanes = extent(store)
    (_, states) = array_metadata(store, NONFINITE)["shape"]
    for key, expected in flag_chunks(group, mark, lanes, states).items():
        found = store.get(key)
        if found is None:
            yield f"{key} is missing"
        elif found != expected:
            yield f"{key} does not match the mark"
    for key, checksums in mark.files.items():
        array, _, place = key.partition("/c/")
        per_shard = len(checksums) // lanes
        for position, what in shard.damage(store, key, checksums).items():
            if position < 0:
                yield f"{key} {what}"
                continue
            lane, entry = divmod(position, per_shard)
            if "/" in place:
                entry += int(place.split("/")[1]) * per_shard
            yield f"{array}, sample {mark.samples[lane]}, entry {entry}: {what} (in {key})"


def part_of(_store: ByteStore, mark: Mark, arrays: Collection[str]) -> Mark:
    """Return a mark restricted to some of the arrays."""
    names = {encode(array) for array in arrays}
    return replace(
        mark, files={key: sums for key, sums in mark.files.items() if key.partition("/c/")[0] in names}
    )


def flag_chunks(group: int, mark: Mark, lanes: int, states: int) -> dict[str, bytes]:
    """Return the chunks of `complete` and `nonfinite` that belong to a mark, by key."""
    nonfinite = np.zeros((lanes, states), bool)
    for lane, name in enumerate(mark.samples):
        nonfinite[lane, mark.nonfinite.get(name, [])] = True
    complete = np.arange(lanes) < len(mark.samples)
    return {
        f"{chunks_of(NONFINITE, group)}/0": nonfinite.tobytes(),
        chunks_of(COMPLETE, group): complete.tobytes(),
    }
