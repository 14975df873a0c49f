"""Comparison of a folder with its marks: every file is read again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from denoscope.storage import layout_checksums
from denoscope.storage.completion import Mark
from denoscope.storage.pt.layout import MANIFEST, MARKS, content, file_of
from denoscope.storage.stores.byte_store import ByteStore


def extent(store: ByteStore) -> tuple[int, int]:
    """Return the number of samples that a recording is planned for, and how many of them form a group."""
    found = content(store)
    return len(found["samples"]), found["attrs"]["fingerprint"]["lanes"]


def claimed(_store: ByteStore, _group: int) -> str:
    """Return the key beside the mark that says that a group is complete: "", since a folder has none."""
    return ""


def damaged_layout(store: ByteStore) -> Iterator[str]:
    """Describe in one line each damaged file that belongs to no group."""
    rest = content(store)
    attributes = rest.pop("attrs", {})
    yield from layout_checksums.damaged(store, MARKS, MANIFEST, attributes, rest)


def damaged(store: ByteStore, _group: int, mark: Mark) -> Iterator[str]:
    """Describe in one line each damaged file of a finished group."""
    for key, (expected,) in mark.files.items():
        if what := layout_checksums.mismatch(store, key, expected):
            yield f"{key} {what}"


def part_of(store: ByteStore, mark: Mark, arrays: Collection[str]) -> Mark:
    """Return a mark restricted to some of the arrays."""
    folders = content(store)["layer_folders"]
    wanted = {file_of(array, sample, folders) for array in arrays for sample in mark.samples}
    return replace(mark, files={key: sums for key, sums in mark.files.items() if key in wanted})
