"""Recordings as one Zarr v3 group that plain zarr and xarray open."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.storage import completion, replacement
from denoscope.storage.array_names import encode
from denoscope.storage.completion import Mark, WriteMark
from denoscope.storage.group_writer import GroupWriter
from denoscope.storage.layouts import damaged_recording
from denoscope.storage.output_lock import (
    Existing,
    check_inside,
    check_root,
    check_same_work,
    check_version,
    how_to_record_anyway,
)
from denoscope.storage.plan import COMPLETE, NONFINITE, ArrayPlan, Plan, as_array
from denoscope.storage.replacement import MARK_NAMES, Kind
from denoscope.storage.root_file import Root
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import layout
from denoscope.storage.zarr.check import damaged, flag_chunks
from denoscope.storage.zarr.layout import (
    FILE,
    LOCK,
    MARKS,
    ROOT,
    ZarrRoot,
    check_names,
    chunks_of,
    claim,
    is_laid_out,
    lay_out,
    shard_entries,
)
from denoscope.storage.zarr.metadata import ZSTD_LEVEL
from denoscope.storage.zarr.shard import Shard
from denoscope.storage.zarr.sizes import needed_bytes


class ZarrUnit:
    """The open shards of the groups in flight."""

    def __init__(self, store: ByteStore, plan: Plan, groups: Sequence[int], write_mark: WriteMark):
        self._store, self._plan, self._groups, self._write_mark = store, plan, groups, write_mark
        self._arrays = {array.name: array for array in plan.arrays}
        self._entries = dict.fromkeys(self._arrays, 0)
        self._open: dict[tuple[str, int], Shard] = {}
        self._files: dict[int, dict[str, list[int | None]]] = {group: {} for group in groups}
        self._flags: list[np.ndarray] = []
        self._encode = _encoder(plan.codec)

    def append(self, name: str, rows: torch.Tensor) -> None:
        array, entry = self._arrays[name], self._entries[name]
        per_shard = shard_entries(array, self._plan.lanes)
        data, first = as_array(rows, array.dtype), 0
        for group in self._groups:
            chunks = data[first : first + len(self._plan.samples_of(group))]
            first += len(chunks)
            if entry % per_shard == 0:
                self._open[name, group] = self._new_shard(array, group, entry // per_shard, per_shard)
            positions = [lane * per_shard + entry % per_shard for lane in range(len(chunks))]
            self._open[name, group].append(positions, chunks)
            if (entry + 1) % per_shard == 0 or entry + 1 == array.count:
                self._finish_shard(name, group)
        self._entries[name] = entry + 1

    def flag(self, nonfinite: np.ndarray) -> None:
        self._flags.append(nonfinite)

    def finish(self) -> None:
        """Write the flags and the mark of each group."""
        first, flags = 0, np.stack(self._flags, axis=1)  # [n, states]
        for group in self._groups:
            samples = [self._plan.samples[index] for index in self._plan.samples_of(group)]
            flags_of = dict(zip(samples, flags[first : first + len(samples)], strict=True))
            first += len(samples)
            nonfinite = {name: np.flatnonzero(row).tolist() for name, row in flags_of.items() if row.any()}
            mark = Mark(samples, self._files[group], nonfinite)
            for key, chunk in flag_chunks(group, mark, self._plan.lanes, self._plan.steps + 1).items():
                self._store.put(key, chunk)
            # The mark comes last: it implies that everything else is there.
            self._write_mark(self._store, MARKS, group, mark)

    def discard(self) -> None:
        """Drop what is unfinished."""
        for unfinished in self._open.values():
            unfinished.discard()

    def _finish_shard(self, name: str, group: int) -> None:
        shard = self._open[name, group]
        shard.finish()
        del self._open[name, group]
        self._files[group][shard.key] = shard.checksums

    def _new_shard(self, array: ArrayPlan, group: int, index: int, per_shard: int) -> Shard:
        place = [*([index] if array.time_dim else []), *([0] * len(array.inner))]
        key = "/".join([chunks_of(array.name, group), *map(str, place)])
        return Shard(self._store, key, self._plan.lanes * per_shard, self._encode)


def _check(store: ByteStore, plan: Plan, existing: Existing) -> None:
    """Check that an output may be written as requested."""
    root = FILE.read(store)
    if root.is_recording:
        _check_existing(store, root, plan, existing)
    elif any(map(_is_foreign, store.list())) or _is_file(store):
        not_one = UserError(f"{store} exists and is not a recording; name another output ({spelled('out')})")
        raise damaged_recording(store, layout) or not_one
    links = store.links() if isinstance(store, LocalStore) else ()
    check_inside(store, (chunks_of(array.name, 0) for array in plan.arrays), links)


def _check_existing(store: ByteStore, root: Root[ZarrRoot], plan: Plan, existing: Existing) -> None:
    """Check that a recording with this root file may be resumed or replaced as requested."""
    stored = root.attributes
    check_version(store, root)
    if existing == "refuse":
        raise UserError(f"{store} already holds a recording; {how_to_record_anyway(store, stored)}")
    if existing == "overwrite" and not isinstance(store, LocalStore) and any(completion.read(store, MARKS)):
        raise UserError(
            f"{store} holds finished samples, and object storage cannot exchange a recording for another in one step; name "
            f"another output ({spelled('out')}), or delete this one first with the tools of your storage"
        )
    if existing == "overwrite" and is_laid_out(root):
        nodes = root.content["consolidated_metadata"]["metadata"]
        others = (name for name in _folders(plan) if name not in nodes and any(store.list(f"{name}/")))
        if (taken := next(others, None)) is not None:
            raise UserError(
                f"{store}/{taken} is not part of the recording in {store}, and a new one would replace it; move it or "
                f"name another output ({spelled('out')})"
            )
    if existing == "resume" and is_laid_out(root) and not replacement.continued(KIND, store, plan):
        check_root(store, root)
        check_same_work(store, stored, plan.attrs)
        check_names(store, root, (array.name for array in plan.arrays))


def _is_foreign(key: str) -> bool:
    """Whether a key is something else than the lock of a store that was not yet identified as a recording."""
    return key != LOCK


def _is_file(store: ByteStore) -> bool:
    return isinstance(store, LocalStore) and store.root.exists() and not store.root.is_dir()


def _folders(plan: Plan) -> list[str]:
    """The folders of all arrays."""
    return [COMPLETE, NONFINITE, *plan.coords, *(encode(array.name) for array in plan.arrays)]


def _own_keys(store: ByteStore, plan: Plan) -> list[str]:
    """The keys of a store that belong to the recording in it or to the planned one."""
    nodes = FILE.read(store).content.get("consolidated_metadata", {}).get("metadata", {})
    folders = "|".join(map(re.escape, {*nodes, *_folders(plan)}))
    pattern = re.compile(
        rf"{re.escape(ROOT)}|{LOCK}|{MARKS}/({MARK_NAMES})|({folders})/(zarr\.json|c(/\d+)*)"
    )
    return [key for key in store.list() if pattern.fullmatch(key)]


def _withdraw(store: ByteStore, plan: Plan, groups: Collection[int]) -> None:
    """Remove groups; their flags and marks, which say that they are complete, go first."""
    chunks = "|".join(re.escape(encode(name)) for name in (NONFINITE, *(array.name for array in plan.arrays)))
    patterns = [rf"{COMPLETE}/c/(\d+)", rf"{MARKS}/(\d+)\.json", rf"(?:{chunks})/c/(\d+)(?:/\d+)*"]
    keys, removed = list(store.list()), set(groups)
    for pattern in map(re.compile, patterns):
        for key in keys:
            if (match := pattern.fullmatch(key)) and int(match[1]) in removed:
                store.delete(key)


def _begin(store: ByteStore, plan: Plan) -> None:
    """Lay out a store in place of a former one."""
    claim(store)
    # Marks go first, so that no mark is left without its files.
    for key in sorted(_own_keys(store, plan), key=lambda key: not key.startswith(f"{MARKS}/")):
        if key not in (LOCK, ROOT):
            store.delete(key)
    _clean(store, plan)
    if isinstance(store, LocalStore):
        store.remove_empty_folders(_folders(plan))
    lay_out(store, plan, {})


def _clean(store: ByteStore, plan: Plan) -> None:
    if isinstance(store, LocalStore):
        store.remove_partial(_folders(plan))


KIND = Kind(
    layout=layout,
    exchanges=True,
    check=_check,
    needed_bytes=needed_bytes,
    unit=ZarrUnit,
    damaged=damaged,
    begin=_begin,
    withdraw=_withdraw,
    clean=_clean,
    own_keys=_own_keys,
)


class ZarrWriter(GroupWriter):
    """Writes a recording into a store. zarr makes the metadata; chunks go straight into shards."""

    kind = KIND


def _encoder(codec: str) -> Any:
    if codec == "none":
        return None
    from numcodecs.zstd import Zstd

    zstd = Zstd(level=ZSTD_LEVEL)
    return lambda chunk: bytes(zstd.encode(np.ascontiguousarray(chunk)))
