"""Comparison of a store with its marks: every chunk and every file of metadata is read again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from denoscope.storage import completion
from denoscope.storage.array_names import encode
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark
from denoscope.storage.plan import COMPLETE, NONFINITE
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.layout import MARKS, ZarrRoot, chunks_of

CHUNKS = re.compile(r".+/c/\d{1,9}(/\d{1,9})*")
"""The key of a shard."""


def claimed(store: ByteStore, marked: Collection[int]) -> Iterator[str]:
    """Yield the keys that tell plain readers that a group is complete although it has no mark."""
    for key in sorted(store.list(f"{COMPLETE}/c/")):
        group = key.removeprefix(f"{COMPLETE}/c/")
        if not (group.isdecimal() and int(group) in marked) and any(store.get(key) or b""):
            yield key


def damaged(store: ByteStore, group: int, mark: Mark, planned: Extent) -> Iterator[str]:
    """Describe in one line each damaged file or chunk of a finished group, in a recording of size `planned`."""
    if problem := _unfit(mark, planned):
        yield f"{completion.key_of(MARKS, group)} {problem}"
        return
    for key, expected in flag_chunks(group, mark, planned.lanes, planned.states).items():
        found = store.get(key)
        if found is None:
            yield f"{key} is missing"
        elif found != expected:
            yield f"{key} does not match the mark"
    for key, checksums in mark.files.items():
        array, _, place = key.partition("/c/")
        per_shard = len(checksums) // planned.lanes
        for position, what in shard.damage(store, key, checksums).items():
            if position < 0:
                yield f"{key} {what}"
                continue
            lane, entry = divmod(position, per_shard)
            if "/" in place:
                entry += int(place.split("/")[1]) * per_shard
            yield f"{array}, sample {mark.samples[lane]}, entry {entry}: {what} (in {key})"


def _unfit(mark: Mark, planned: Extent) -> str:
    """Why a mark is not one of this recording, or "" if it is."""
    if len(mark.samples) > planned.lanes:
        return f"names {len(mark.samples)} samples; allowed: {planned.lanes}"
    if any(state not in range(planned.states) for states in mark.nonfinite.values() for state in states):
        return f"names states that do not exist; allowed: 0 to {planned.states - 1}"
    for key, sums in mark.files.items():
        per_shard, rest = divmod(len(sums), planned.lanes)
        spare = sums[len(mark.samples) * per_shard :]
        if not CHUNKS.fullmatch(key) or not sums or rest or any(one is not None for one in spare):
            return f"has checksums of {key} that do not fit the recording"
    return ""


def part_of(_root: Root[ZarrRoot], mark: Mark, arrays: Collection[str]) -> Mark:
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
