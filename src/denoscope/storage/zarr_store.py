"""Recordings as one Zarr v3 group that plain zarr and xarray open."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.errors import UserError
from denoscope.files import replacing
from denoscope.storage import marks
from denoscope.storage.marks import Mark
from denoscope.storage.plan import (
    COMPLETE,
    FORMAT,
    FORMAT_VERSION,
    NONFINITE,
    ArrayPlan,
    Plan,
    as_array,
)
from denoscope.storage.shard import Shard, damage
from denoscope.storage.target import Existing, inside, locked, remove_partial, same_work, writing

if TYPE_CHECKING:
    import xarray

SHARD_BYTES = 32 * 2**20
ZSTD_LEVEL = 1


def shard_entries(array: ArrayPlan, lanes: int) -> int:
    """How many entries along time one shard holds, so that it stays near SHARD_BYTES."""
    return max(1, min(array.count, SHARD_BYTES // max(1, lanes * array.entry_bytes)))


class ZarrWriter:
    """Writes a recording into a store: metadata by zarr, chunks straight to disk."""

    def __init__(self, path: Path, plan: Plan):
        self.path, self.plan = path, plan

    @classmethod
    @contextmanager
    def opened(cls, path: Path, plan: Plan, existing: Existing) -> Iterator[ZarrWriter]:
        """A writer with the store's lock held; a new store is laid out with all its metadata."""
        lock = path / COMPLETE / "lock"
        if path.exists() and not is_recording(path) and set(_files(path)) - {lock}:
            raise UserError(f"{path} exists and is no recording; name another output")
        if is_recording(path) and existing == "refuse":
            raise UserError(
                f"{path} already holds a recording; go on with it by --resume, replace it with --overwrite, "
                "or name another output"
            )
        inside(path, [path / name for name in (COMPLETE, NONFINITE, *(array.name for array in plan.arrays))])
        with writing(path), locked(lock, path):
            if existing == "resume" and _is_laid_out(path):
                same_work(path, attributes(path), plan.attrs)
            else:
                _remove_all_but(path, lock)
                _lay_out(path, plan)
            remove_partial([path])
            yield cls(path, plan)

    def finished(self) -> list[int]:
        found = marks.read(self.path / COMPLETE / "marks")
        return [group for group, mark in found.items() if not list(damaged(self.path, mark))]

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
                shard = self.open.pop((name, group))
                shard.finish()
                self.files[group][shard.path.relative_to(self.path).as_posix()] = shard.checksums
        self.done[name] = entry + 1

    def flag(self, nonfinite: np.ndarray) -> None:
        self.flags.append(nonfinite)

    def finish(self) -> None:
        first, flags = 0, np.stack(self.flags, axis=1)  # [n, states]
        for group in self.groups:
            samples = [self.plan.samples[index] for index in self.plan.samples_of(group)]
            own = flags[first : first + len(samples)]
            first += len(samples)
            padded = np.zeros((self.plan.lanes, self.plan.steps + 1), bool)
            padded[: len(own)] = own
            _write_chunk(self.path / NONFINITE / "c" / str(group) / "0", padded)
            whole = np.arange(self.plan.lanes) < len(samples)
            _write_chunk(self.path / COMPLETE / "c" / str(group), whole)
            # The mark comes last: where it stands, all the rest does.
            wrong = {
                name: np.flatnonzero(row).tolist()
                for name, row in zip(samples, own, strict=True)
                if row.any()
            }
            marks.write(self.path / COMPLETE / "marks", group, Mark(samples, self.files[group], wrong))

    def discard(self) -> None:
        for shard in self.open.values():
            shard.discard()

    def _shard(self, array: ArrayPlan, group: int, index: int, per_shard: int) -> Shard:
        place = [group, *([index] if array.time_dim else []), *([0] * len(array.inner))]
        path = self.path / array.name / "c" / "/".join(map(str, place))
        return Shard(path, self.plan.lanes * per_shard, self.encode)


def damaged(path: Path, mark: Mark) -> Iterator[str]:
    """What is wrong with a finished group, one line for each file or chunk."""
    lanes = attributes(path)["fingerprint"]["lanes"]
    for name, checksums in mark.files.items():
        array, _, place = name.partition("/c/")
        per_shard = len(checksums) // lanes
        for position, what in damage(path / name, checksums).items():
            if position < 0:
                yield f"{name} {what}"
                continue
            lane, entry = divmod(position, per_shard)
            if "/" in place:
                entry += int(place.split("/")[1]) * per_shard
            yield f"{array}, sample {mark.samples[lane]}, entry {entry}: {what} (in {name})"


def attributes(path: Path) -> dict[str, Any]:
    """The attributes of a store; nothing where it cannot be read."""
    try:
        return json.loads((path / "zarr.json").read_text())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def set_attribute(path: Path, name: str, value: Any) -> None:
    content = json.loads((path / "zarr.json").read_text())
    content["attributes"][name] = value
    with replacing(path / "zarr.json") as file:
        file.write(json.dumps(content, indent=2).encode())


def is_recording(path: Path) -> bool:
    return attributes(path).get("format") == FORMAT


def open_store(path: Path) -> xarray.Dataset:
    """The store as a lazily read dataset; a layer's array keeps the dimension names of the store."""
    import xarray

    if not is_recording(path):
        raise UserError(f"{path} is no recording: it has no zarr.json of the format {FORMAT!r}")
    version = attributes(path)["format_version"]
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this denoscope reads up to {FORMAT_VERSION}: upgrade it"
        )
    return xarray.open_zarr(path, chunks=None)


def _is_laid_out(path: Path) -> bool:
    return is_recording(path) and "consolidated_metadata" in json.loads((path / "zarr.json").read_text())


def _files(path: Path) -> Iterator[Path]:
    return (found for found in path.rglob("*") if not found.is_dir()) if path.is_dir() else iter([path])


def _remove_all_but(path: Path, kept: Path) -> None:
    for child in path.iterdir():
        if child in kept.parents:
            _remove_all_but(child, kept)
        elif child != kept:
            shutil.rmtree(child) if child.is_dir() else child.unlink()


def _encoder(codec: str) -> Any:
    if codec == "none":
        return None
    from numcodecs.zstd import Zstd

    zstd = Zstd(level=ZSTD_LEVEL)
    return lambda chunk: bytes(zstd.encode(np.ascontiguousarray(chunk)))


def _write_chunk(path: Path, values: np.ndarray) -> None:
    with replacing(path) as file:
        file.write(values.tobytes())


def _lay_out(path: Path, plan: Plan) -> None:
    import zarr
    from zarr.codecs import ZstdCodec

    # The attributes come first: a store that a kill left half laid out is known as ours and laid out anew.
    auxiliary = [name for name, (dim, _) in plan.coords.items() if name != dim]
    attrs = {**plan.attrs, "coordinates": " ".join([*auxiliary, COMPLETE, NONFINITE])}
    group = zarr.create_group(path, zarr_format=3, attributes=attrs)
    samples, lanes = len(plan.samples), plan.lanes
    compressors = [ZstdCodec(level=ZSTD_LEVEL)] if plan.codec == "zstd" else None
    for array in plan.arrays:
        time = [1] if array.time_dim else []
        entries = [shard_entries(array, lanes)] if array.time_dim else []
        group.create_array(
            array.name,
            shape=(samples, *array.shape),
            chunks=(1, *time, *array.inner),
            shards=(lanes, *entries, *array.inner),
            dtype=array.dtype,
            fill_value=np.nan,
            compressors=compressors,
            dimension_names=array.stored_dims,
            config={"write_empty_chunks": True},
        )
    flags = {
        COMPLETE: ((samples,), (lanes,)),
        NONFINITE: ((samples, plan.steps + 1), (lanes, plan.steps + 1)),
    }
    for name, (shape, chunks) in flags.items():
        dims = ("sample", "state")[: len(shape)]
        group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=bool,
            fill_value=False,
            compressors=None,
            dimension_names=dims,
        )
    for name, (dim, values) in plan.coords.items():
        text = values.dtype.kind in "UO"
        coordinate = group.create_array(
            name, shape=values.shape, dtype=str if text else values.dtype, dimension_names=(dim,)
        )
        coordinate[:] = values.astype(object) if text else values
    consolidate(path)


def consolidate(path: Path) -> None:
    """Gather all metadata in the group's own file, where xarray looks for it first."""
    import zarr

    with warnings.catch_warnings():
        # An agreed extension of the format, which zarr still warns of.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        zarr.consolidate_metadata(path)
