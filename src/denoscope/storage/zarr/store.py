"""Recordings as one Zarr v3 group that plain zarr and xarray open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation.atomic_files import whole
from denoscope.foundation.errors import UserError
from denoscope.storage import completion, remedy, space
from denoscope.storage.completion import Mark
from denoscope.storage.output_lock import (
    Existing,
    as_written,
    inside,
    readable_version,
    remove_partial,
    same_work,
    taken,
)
from denoscope.storage.plan import COMPLETE, NONFINITE, ArrayPlan, Plan, as_array
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.check import damaged, damaged_layout, flag_chunks
from denoscope.storage.zarr.layout import (
    ROOT,
    ZSTD_LEVEL,
    attributes,
    claim,
    is_laid_out,
    is_recording,
    lay_out,
    marks_of,
    shard_entries,
)
from denoscope.storage.zarr.shard import Shard

METADATA_BYTES = 2000  # of one array
MARK_BYTES = 12  # of a checksum, written out


class ZarrWriter:
    """Writes a recording into a store: metadata by zarr, chunks straight to disk."""

    def __init__(self, path: Path, plan: Plan, finished: Mapping[int, Mark]):
        self.path, self.plan, self.finished = path, plan, finished

    @staticmethod
    def permit(path: Path, plan: Plan, existing: Existing) -> None:
        """Refuse what is in the way, and a plan that does not fit; nothing is touched."""
        if is_recording(path):
            readable_version(path, attributes(path))
            if existing == "refuse":
                raise UserError(
                    f"{path} already holds a recording; {remedy.of_taken(attributes(path))}, or name another output"
                )
            if existing == "resume" and is_laid_out(path):
                same_work(path, attributes(path), plan.attrs)
        elif path.exists() and any(map(_of_another, _files(path))):
            raise UserError(f"{path} exists and is no recording; name another output")
        links = (found for found in path.rglob("*") if found.is_symlink())
        inside(path, [*(path / array.name for array in plan.arrays), *links])
        if existing != "resume":
            freed = sum(found.stat().st_size for found in _files(path)) if is_recording(path) else 0
            space.check(path, ZarrWriter.disk_bytes(path, plan), freed)

    @staticmethod
    def disk_bytes(path: Path, plan: Plan, groups: Sequence[int] | None = None) -> int:
        """What these groups take on the disk of `path`, or the whole recording; a codec only makes it less."""
        if groups is None:
            return space.on_disk(path, _layout_sizes(plan)) + ZarrWriter.disk_bytes(path, plan, plan.groups)
        return space.on_disk(path, (size for group in groups for size in _sizes(plan, group)))

    @classmethod
    @contextmanager
    def opened(cls, path: Path, plan: Plan, existing: Existing) -> Iterator[ZarrWriter]:
        """A writer with the store's lock held; a new store is laid out with all its metadata."""
        with taken(path, _lock_of(path), plan.attrs, partial(cls.permit, path, plan, existing)):
            if existing == "resume" and is_laid_out(path):
                finished = _resumed(path, plan)
            else:
                finished = {}
                _begin(path, plan)
            yield cls(path, plan, finished)

    @contextmanager
    def unit(self, groups: Sequence[int]) -> Iterator[_Unit]:
        unit = _Unit(self.path, self.plan, groups)
        try:
            yield unit
            unit.finish()
        finally:
            unit.discard()


class _Unit:
    """The open shards of the groups in flight."""

    def __init__(self, path: Path, plan: Plan, groups: Sequence[int]):
        self.path, self.plan, self.groups = path, plan, groups
        self.arrays = {array.name: array for array in plan.arrays}
        self.done = dict.fromkeys(self.arrays, 0)
        self.open: dict[tuple[str, int], Shard] = {}
        self.files: dict[int, dict[str, list[int | None]]] = {group: {} for group in groups}
        self.flags: list[np.ndarray] = []
        self.encode = _encoder(plan.codec)

    def append(self, name: str, rows: torch.Tensor) -> None:
        array, entry = self.arrays[name], self.done[name]
        per_shard = shard_entries(array, self.plan.lanes)
        data, first = as_array(rows, array.dtype), 0
        for group in self.groups:
            chunks = data[first : first + len(self.plan.samples_of(group))]
            first += len(chunks)
            if entry % per_shard == 0:
                self.open[name, group] = self._shard(array, group, entry // per_shard, per_shard)
            positions = [lane * per_shard + entry % per_shard for lane in range(len(chunks))]
            self.open[name, group].append(positions, chunks)
            if (entry + 1) % per_shard == 0 or entry + 1 == array.count:
                self._close(name, group)
        self.done[name] = entry + 1

    def flag(self, nonfinite: np.ndarray) -> None:
        self.flags.append(nonfinite)

    def finish(self) -> None:
        first, flags = 0, np.stack(self.flags, axis=1)  # [n, states]
        for group in self.groups:
            samples = [self.plan.samples[index] for index in self.plan.samples_of(group)]
            own = dict(zip(samples, flags[first : first + len(samples)], strict=True))
            first += len(samples)
            nonfinite = {name: np.flatnonzero(row).tolist() for name, row in own.items() if row.any()}
            mark = Mark(samples, self.files[group], nonfinite)
            for name, chunk in flag_chunks(group, mark, self.plan.lanes, self.plan.steps + 1).items():
                with whole(self.path / name) as file:
                    file.write(chunk)
            # The mark comes last: where it stands, all the rest does.
            completion.write(marks_of(self.path), group, mark)

    def discard(self) -> None:
        for unfinished in self.open.values():
            unfinished.discard()

    def _close(self, name: str, group: int) -> None:
        finished = self.open[name, group]
        finished.finish()
        del self.open[name, group]
        self.files[group][finished.path.relative_to(self.path).as_posix()] = finished.checksums

    def _shard(self, array: ArrayPlan, group: int, index: int, per_shard: int) -> Shard:
        place = [group, *([index] if array.time_dim else []), *([0] * len(array.inner))]
        path = self.path / array.name / "c" / "/".join(map(str, place))
        return Shard(path, self.plan.lanes * per_shard, self.encode)


def _of_another(file: Path) -> bool:
    """Whether a file is neither a lock nor what a killed writer left before its store was known as ours."""
    return file.parts[-2:] != (COMPLETE, "lock") and not file.match(".*.partial")


def _lock_of(path: Path) -> Path:
    return path / COMPLETE / "lock"


def _resumed(path: Path, plan: Plan) -> dict[int, Mark]:
    """The finished groups of a store to be gone on with; all that is left of the others is removed."""
    if not as_written(path, ROOT, damaged_layout(path)):
        lay_out(path, plan, attributes(path))
    found = completion.read(marks_of(path))
    finished = {group: mark for group, mark in found.items() if not any(damaged(path, group, mark))}
    pending = [group for group in plan.groups if group not in finished]
    for group in pending:
        _withdraw(path, plan, group)
    remove_partial([path])
    space.check(path, ZarrWriter.disk_bytes(path, plan, pending))
    return finished


def _withdraw(path: Path, plan: Plan, group: int) -> None:
    """Take back that a group is complete, then remove what there is of it."""
    for place in (path / COMPLETE / "c" / str(group), completion.path_of(marks_of(path), group)):
        place.unlink(missing_ok=True)
    for name in (NONFINITE, *(array.name for array in plan.arrays)):
        _remove(path / name / "c" / str(group))


def _begin(path: Path, plan: Plan) -> None:
    """Lay out a store, in the place of what was there."""
    lock = _lock_of(path)
    claim(path)
    # Marks go first, so that none ever stands without what it marks.
    _remove(marks_of(path))
    for child in [*lock.parent.iterdir(), *path.iterdir()]:
        if child not in (lock, lock.parent, path / ROOT):
            _remove(child)
    lay_out(path, plan, {})


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(path: Path) -> Iterator[Path]:
    return (found for found in path.rglob("*") if not found.is_dir()) if path.is_dir() else iter([path])


def _layout_sizes(plan: Plan) -> Iterator[int]:
    """About the bytes of each file and folder that are there before the first group."""
    yield METADATA_BYTES * (len(plan.arrays) + len(plan.coords) + 4)  # the store's own, with all attributes
    for _ in range(len(plan.arrays) + 2):
        yield from (1, METADATA_BYTES, 1)  # folder, zarr.json, c
    for _, values in plan.coords.values():
        yield from (1, METADATA_BYTES, 1, values.nbytes)
    yield from (1, 1, METADATA_BYTES)  # the store's folder, that of the marks and their layout.json


def _sizes(plan: Plan, group: int) -> Iterator[int]:
    """Bytes of each file and one for each folder of a group."""
    samples, mark = len(plan.samples_of(group)), 0
    for array in plan.arrays:
        most, written = shard_entries(array, plan.lanes), 0
        while written < array.count:
            entries = min(most, array.count - written)
            yield shard.size_of(plan.lanes * most, samples * entries * array.entry_bytes)
            yield from [1] * (len(array.inner) + 1)
            mark += MARK_BYTES * plan.lanes * most
            written += entries
    yield from (mark, plan.lanes, plan.lanes * (plan.steps + 1), 1)


def _encoder(codec: str) -> Any:
    if codec == "none":
        return None
    from numcodecs.zstd import Zstd

    zstd = Zstd(level=ZSTD_LEVEL)
    return lambda chunk: bytes(zstd.encode(np.ascontiguousarray(chunk)))
