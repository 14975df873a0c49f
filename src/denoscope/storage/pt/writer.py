"""Recordings as folders of .pt files, one file for each sample and array."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.storage import completion, replacement, space
from denoscope.storage.completion import Mark, WriteMark
from denoscope.storage.group_writer import GroupWriter
from denoscope.storage.output_lock import (
    Existing,
    check_inside,
    check_root,
    check_same_work,
    check_version,
    how_to_record_anyway,
)
from denoscope.storage.plan import Plan, as_array
from denoscope.storage.pt import layout
from denoscope.storage.pt.check import damaged
from denoscope.storage.pt.file import OVERHEAD, PtFile
from denoscope.storage.pt.layout import (
    FILE,
    LOCK,
    MANIFEST,
    MARKS,
    Manifest,
    file_of,
    files_of,
    former_files,
    lay_out,
)
from denoscope.storage.replacement import MARK_NAMES, Kind
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore, exists
from denoscope.storage.stores.local import LocalStore

MARK_BYTES = 64
"""Bytes of a mark for one file, with its name."""
MANIFEST_BYTES = 200
"""Bytes of the manifest for one sample, with its coordinates."""
MARK_KEY = re.compile(rf"{re.escape(MARKS)}/({MARK_NAMES})")
COMPANIONS = ("images", "predictions.json", "classifications_plane.pt")
"""What other commands put beside a recording's files."""


class PtUnit:
    """The open files of the groups in flight."""

    def __init__(self, store: ByteStore, plan: Plan, groups: Sequence[int], write_mark: WriteMark):
        self._store, self._plan, self._groups, self._write_mark = store, plan, groups, write_mark
        self._samples = [plan.samples[index] for group in groups for index in plan.samples_of(group)]
        self._arrays = {array.name: array for array in plan.arrays}
        self._files: dict[tuple[str, str], PtFile] = {}
        self._flags: list[np.ndarray] = []
        self._finished = False

    def append(self, name: str, rows: torch.Tensor) -> None:
        array = self._arrays[name]
        data = as_array(rows, array.dtype)
        for row, sample in enumerate(self._samples):
            if (name, sample) not in self._files:
                key = file_of(name, sample, self._plan.layer_folders)
                self._files[name, sample] = PtFile(self._store, key, array.shape, array.dtype)
            self._files[name, sample].append(data[row : row + 1])

    def flag(self, nonfinite: np.ndarray) -> None:
        self._flags.append(nonfinite)

    def finish(self) -> None:
        """Finish all files and write the mark of each group."""
        for file in self._files.values():
            file.finish()
        self._finished = True
        flags = dict(zip(self._samples, np.stack(self._flags, axis=1), strict=True))
        for group in self._groups:
            samples = [self._plan.samples[index] for index in self._plan.samples_of(group)]
            files = {
                file.key: [file.checksum]
                for sample in samples
                for file in (self._files[array, sample] for array in self._arrays)
            }
            wrong = {name: np.flatnonzero(flags[name]).tolist() for name in samples if flags[name].any()}
            self._write_mark(self._store, MARKS, group, Mark(samples, files, wrong))

    def discard(self) -> None:
        """Drop what is unfinished."""
        if not self._finished:
            for file in self._files.values():
                file.discard()


def needed_bytes(store: ByteStore, plan: Plan, groups: Sequence[int] | None = None) -> int:
    """Return the bytes that some groups, or the whole recording, occupy in a folder."""
    if groups is None:
        manifest = [MANIFEST_BYTES * (1 + len(plan.samples)), *[1] * (len(plan.arrays) + 2)]
        return space.footprint(store, manifest) + needed_bytes(store, plan, plan.groups)
    sizes = [array.count * array.entry_bytes + OVERHEAD for array in plan.arrays]
    per_sample = space.footprint(store, sizes)
    return sum(
        len(plan.samples_of(group)) * per_sample
        + space.footprint(store, [MARK_BYTES * len(plan.samples_of(group)) * len(sizes)])
        for group in groups
    )


def _check(store: ByteStore, plan: Plan, existing: Existing) -> None:
    """Check that an output may be written as requested."""
    _check_kind(store)
    check_inside(store, [MANIFEST, LOCK, *files_of(plan)])
    root = FILE.read(store)
    if root.is_recording:
        _check_existing(store, root, plan, existing)
    else:
        _check_other_content(store, plan, existing)


def _check_kind(store: ByteStore) -> None:
    """Check that an output is a folder without a Zarr store, or does not exist."""
    if isinstance(store, LocalStore) and store.root.exists() and not store.root.is_dir():
        raise UserError(
            f"{store} is a file; name a folder, or a store NAME.zarr, as output ({spelled('out')})"
        )
    if exists(store, "zarr.json"):
        raise UserError(
            f"{store} is a Zarr store, which cannot hold .pt files; name another output ({spelled('out')})"
        )


def _check_existing(store: ByteStore, root: Root[Manifest], plan: Plan, existing: Existing) -> None:
    """Check that a recording with this manifest may be resumed or replaced as requested."""
    stored = root.attributes
    check_version(store, root)
    if existing == "refuse":
        raise UserError(
            f"{store} already holds a recording; empty the folder with clean_output.sh, {how_to_record_anyway(store, stored)}"
        )
    if existing == "resume" and not replacement.continued(KIND, store, plan):
        check_root(store, root)
        check_same_work(store, stored, plan.attrs)


def _check_other_content(store: ByteStore, plan: Plan, existing: Existing) -> None:
    """Check that a folder without a recording may be written as requested."""
    if existing == "overwrite":
        return
    present = set(store.list())
    if existing == "resume" and not present.isdisjoint([MANIFEST, *files_of(plan)]):
        raise UserError(
            f"{store} cannot be resumed: it holds files of this recording, but its {MANIFEST} is missing or damaged; "
            f"replace them ({spelled('overwrite', True)}) or name another output ({spelled('out')})"
        )
    if existing == "refuse" and (other := min(filter(_is_foreign, present), default=None)):
        raise UserError(
            f"{store} is not empty: it holds {other}; name another output ({spelled('out')}), empty the folder with "
            f"clean_output.sh, or replace files of the same names and leave all others ({spelled('overwrite', True)})"
        )


def _is_foreign(key: str) -> bool:
    """Whether a key is neither hidden nor made from a recording by another command."""
    parts = key.split("/")
    return parts[0] not in COMPANIONS and not any(part.startswith(".") for part in parts)


def _withdraw(store: ByteStore, plan: Plan, groups: Collection[int]) -> None:
    """Remove groups; their marks, which say that they are complete, go first."""
    for group in groups:
        store.delete(completion.key_of(MARKS, group))
        for array in plan.arrays:
            for index in plan.samples_of(group):
                store.delete(file_of(array.name, plan.samples[index], plan.layer_folders))


def _begin(store: ByteStore, plan: Plan) -> None:
    """Remove what is replaced and write the manifest."""
    # Marks go first, so that no mark is left without its files.
    for key in sorted(_own_keys(store, plan), key=lambda key: not key.startswith(f"{MARKS}/")):
        if key != LOCK:
            store.delete(key)
    _clean(store, plan)
    lay_out(store, plan, {})


def _clean(store: ByteStore, plan: Plan) -> None:
    if isinstance(store, LocalStore):
        store.remove_partial({MARKS, *(key.rpartition("/")[0] for key in files_of(plan))})


def _own_keys(store: ByteStore, plan: Plan) -> list[str]:
    """The keys of a folder that belong to the recording in it, or that the planned one will have."""
    known = {MANIFEST, LOCK, *files_of(plan), *former_files(store)}
    return [key for key in store.list() if key in known or MARK_KEY.fullmatch(key)]


KIND = Kind(
    layout=layout,
    exchanges=False,
    check=_check,
    needed_bytes=needed_bytes,
    unit=PtUnit,
    damaged=damaged,
    begin=_begin,
    withdraw=_withdraw,
    clean=_clean,
    own_keys=_own_keys,
)


class PtWriter(GroupWriter):
    """Writes each sample's files entry by entry."""

    kind = KIND
