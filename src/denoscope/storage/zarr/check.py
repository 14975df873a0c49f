"""Whether a store is what its marks say: every chunk and every file of metadata, read again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from denoscope.storage import layout
from denoscope.storage.completion import Mark
from denoscope.storage.plan import COMPLETE, NONFINITE
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.layout import ROOT, array_metadata, content, marks_of


def extent(path: Path) -> tuple[int, int]:
    """How many samples a store is to hold, and how many of them make a group."""
    flags = array_metadata(path, COMPLETE)
    return flags["shape"][0], flags["chunk_grid"]["configuration"]["chunk_shape"][0]


def claimed(path: Path, group: int) -> str:
    """The file that tells plain readers that a group is complete; nothing where none does."""
    name = f"{COMPLETE}/c/{group}"
    with suppress(OSError):
        return name if any((path / name).read_bytes()) else ""
    return ""


def damaged_layout(path: Path) -> Iterator[str]:
    """What is wrong with all but the groups, one line for each file."""
    found = content(path)
    stored = found.pop("attributes", {})
    yield from layout.damaged(path, marks_of(path), ROOT, stored, found)


def damaged(path: Path, group: int, mark: Mark) -> Iterator[str]:
    """What is wrong with a finished group, one line for each file or chunk."""
    _, lanes = extent(path)
    (_, states) = array_metadata(path, NONFINITE)["shape"]
    for name, expected in flag_chunks(group, mark, lanes, states).items():
        if not (path / name).is_file():
            yield f"{name} is missing"
        elif (path / name).read_bytes() != expected:
            yield f"{name} is not what the mark says"
    for name, checksums in mark.files.items():
        array, _, place = name.partition("/c/")
        per_shard = len(checksums) // lanes
        for position, what in shard.damage(path / name, checksums).items():
            if position < 0:
                yield f"{name} {what}"
                continue
            lane, entry = divmod(position, per_shard)
            if "/" in place:
                entry += int(place.split("/")[1]) * per_shard
            yield f"{array}, sample {mark.samples[lane]}, entry {entry}: {what} (in {name})"


def part_of(_path: Path, mark: Mark, arrays: Collection[str]) -> Mark:
    """What a mark says of some of the arrays."""
    return replace(
        mark, files={name: sums for name, sums in mark.files.items() if name.partition("/c/")[0] in arrays}
    )


def flag_chunks(group: int, mark: Mark, lanes: int, states: int) -> dict[str, bytes]:
    """The chunks of `complete` and `nonfinite` that belong to a mark, by their paths."""
    nonfinite = np.zeros((lanes, states), bool)
    for lane, name in enumerate(mark.samples):
        nonfinite[lane, mark.nonfinite.get(name, [])] = True
    complete = np.arange(lanes) < len(mark.samples)
    return {
        f"{NONFINITE}/c/{group}/0": nonfinite.tobytes(),
        f"{COMPLETE}/c/{group}": complete.tobytes(),
    }
