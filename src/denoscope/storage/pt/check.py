"""Comparison of a folder with its marks: every file is read again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from denoscope.storage import completion, layout_checksums
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark
from denoscope.storage.pt.layout import MARKS, Manifest, file_of
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore


def claimed(_store: ByteStore, _marked: Collection[int]) -> Iterator[str]:
    """Yield the keys beside the marks that say that a group is complete: none, since a folder has no such keys."""
    return iter(())


def damaged(store: ByteStore, group: int, mark: Mark, _planned: Extent) -> Iterator[str]:
    """Describe in one line each damaged file of a finished group."""
    for key, checksums in mark.files.items():
        if len(checksums) != 1:
            yield f"{completion.key_of(MARKS, group)} has {len(checksums)} checksums of {key}; allowed: 1"
        elif what := layout_checksums.mismatch(store, key, checksums[0]):
            yield f"{key} {what}"


def part_of(root: Root[Manifest], mark: Mark, arrays: Collection[str]) -> Mark:
    """Return a mark restricted to some of the arrays."""
    folders = root.checked.layer_folders
    wanted = {file_of(array, sample, folders) for array in arrays for sample in mark.samples}
    return replace(mark, files={key: sums for key, sums in mark.files.items() if key in wanted})
