"""Recordings as folders of .pt files, one file for each sample and array."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

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
from denoscope.storage.plan import Plan, as_array
from denoscope.storage.pt.file import OVERHEAD, PtFile
from denoscope.storage.pt.layout import (
    MANIFEST,
    attributes,
    damaged,
    damaged_layout,
    file_of,
    files_of,
    former_files,
    is_recording,
    lay_out,
    marks_of,
)

MARK_BYTES = 64  # of one file, with its name
MANIFEST_BYTES = 200  # of one sample, with its coordinates
COMPANIONS = ("images", "predictions.json", "classifications_plane.pt")
"""What other commands put beside a recording's files."""


class PtWriter:
    """Writes each sample's files entry by entry."""

    def __init__(self, folder: Path, plan: Plan, finished: Mapping[int, Mark]):
        self.folder, self.plan, self.finished = folder, plan, finished

    @staticmethod
    def permit(folder: Path, plan: Plan, existing: Existing) -> None:
        """Refuse what is in the way, and a plan that does not fit; nothing is touched."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; name a folder or a store NAME.zarr as output")
        if (folder / "zarr.json").exists():
            raise UserError(f"{folder} is a Zarr store, where no .pt files go; name another output")
        own = [folder / MANIFEST, *files_of(folder, plan)]
        there = [path for path in own if os.path.lexists(path)]
        links = (path for path in (*there, _lock_of(folder)) if path.is_symlink())
        inside(folder, {marks_of(folder), *(path.parent for path in own), *links})
        if is_recording(folder):
            readable_version(folder, attributes(folder))
            if existing == "refuse":
                raise UserError(
                    f"{folder} already holds a recording; {remedy.of_taken(attributes(folder))}, "
                    "empty the folder with clean_output.sh, or name another output"
                )
            if existing == "resume":
                same_work(folder, attributes(folder), plan.attrs)
        elif there and existing == "resume":
            raise UserError(
                f"{folder} cannot be resumed: it has files of this recording but no sound {MANIFEST}; take "
                "--overwrite or name another output"
            )
        elif existing == "refuse" and (other := _other_file(folder)):
            raise UserError(
                f"{folder} is not empty: it holds {other.relative_to(folder)}; name another output, empty the folder "
                "with clean_output.sh, or record beside what is there, replacing files of the same names, with "
                "--overwrite"
            )
        if existing != "resume":
            freed = sum(path.stat().st_size for path in {*there, *former_files(folder)})
            space.check(folder, PtWriter.disk_bytes(folder, plan), freed)

    @staticmethod
    def disk_bytes(folder: Path, plan: Plan, groups: Sequence[int] | None = None) -> int:
        """What these groups take on the disk of `folder`, or the whole recording."""
        if groups is None:
            manifest = [MANIFEST_BYTES * (1 + len(plan.samples)), *[1] * (len(plan.arrays) + 2)]
            return space.on_disk(folder, manifest) + PtWriter.disk_bytes(folder, plan, plan.groups)
        sizes = [array.count * array.entry_bytes + OVERHEAD for array in plan.arrays]
        one = space.on_disk(folder, sizes)
        return sum(
            len(plan.samples_of(group)) * one
            + space.on_disk(folder, [MARK_BYTES * len(plan.samples_of(group)) * len(sizes)])
            for group in groups
        )

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, plan: Plan, existing: Existing) -> Iterator[PtWriter]:
        """A writer with the folder's lock held; recording.json says what the folder will hold."""
        with taken(folder, _lock_of(folder), plan.attrs, partial(cls.permit, folder, plan, existing)):
            if existing == "resume" and is_recording(folder):
                finished = _resumed(folder, plan)
            else:
                finished = {}
                _begin(folder, plan)
            yield cls(folder, plan, finished)

    @contextmanager
    def unit(self, groups: Sequence[int]) -> Iterator[_Unit]:
        unit = _Unit(self.folder, self.plan, groups)
        try:
            yield unit
            unit.finish()
        finally:
            unit.discard()


class _Unit:
    """The open files of the groups in flight."""

    def __init__(self, folder: Path, plan: Plan, groups: Sequence[int]):
        self.folder, self.plan, self.groups = folder, plan, groups
        self.samples = [plan.samples[index] for group in groups for index in plan.samples_of(group)]
        self.arrays = {array.name: array for array in plan.arrays}
        self.files: dict[tuple[str, str], PtFile] = {}
        self.flags: list[np.ndarray] = []
        self.finished = False

    def append(self, name: str, rows: torch.Tensor) -> None:
        array = self.arrays[name]
        data = as_array(rows, array.dtype)
        for row, sample in enumerate(self.samples):
            if (name, sample) not in self.files:
                path = self.folder / file_of(name, sample, self.plan.layer_folders)
                self.files[name, sample] = PtFile(path, array.shape, array.dtype)
            self.files[name, sample].append(data[row : row + 1])

    def flag(self, nonfinite: np.ndarray) -> None:
        self.flags.append(nonfinite)

    def finish(self) -> None:
        for file in self.files.values():
            file.finish()
        self.finished = True
        flags = dict(zip(self.samples, np.stack(self.flags, axis=1), strict=True))
        for group in self.groups:
            samples = [self.plan.samples[index] for index in self.plan.samples_of(group)]
            files = {
                file.path.relative_to(self.folder).as_posix(): [file.checksum]
                for sample in samples
                for file in (self.files[array, sample] for array in self.arrays)
            }
            wrong = {name: np.flatnonzero(flags[name]).tolist() for name in samples if flags[name].any()}
            completion.write(marks_of(self.folder), group, Mark(samples, files, wrong))

    def discard(self) -> None:
        if not self.finished:
            for file in self.files.values():
                file.discard()


def _other_file(folder: Path) -> Path | None:
    """A file in the folder that neither is hidden nor comes from what is made of recordings."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        skipped = COMPANIONS if here == folder else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in skipped)
        for name in sorted(files):
            if not name.startswith(".") and name not in skipped:
                return here / name
    return None


def _lock_of(folder: Path) -> Path:
    return marks_of(folder) / "lock"


def _resumed(folder: Path, plan: Plan) -> dict[int, Mark]:
    """The finished groups of a recording to be gone on with; all that is left of the others is removed."""
    if not as_written(folder, MANIFEST, damaged_layout(folder)):
        lay_out(folder, plan, attributes(folder))
    found = completion.read(marks_of(folder))
    finished = {group: mark for group, mark in found.items() if not any(damaged(folder, group, mark))}
    pending = [group for group in plan.groups if group not in finished]
    for group in pending:
        completion.path_of(marks_of(folder), group).unlink(missing_ok=True)
        for array in plan.arrays:
            for index in plan.samples_of(group):
                path = folder / file_of(array.name, plan.samples[index], plan.layer_folders)
                path.unlink(missing_ok=True)
    _remove_partial(folder, plan)
    space.check(folder, PtWriter.disk_bytes(folder, plan, pending))
    return finished


def _begin(folder: Path, plan: Plan) -> None:
    """Remove what is to be replaced and write down what the folder will hold."""
    # Marks go first, so that none ever stands without what it marks.
    for path in marks_of(folder).glob("*.json"):
        path.unlink()
    for path in {*files_of(folder, plan), *former_files(folder)}:
        path.unlink(missing_ok=True)
    _remove_partial(folder, plan)
    lay_out(folder, plan, {})


def _remove_partial(folder: Path, plan: Plan) -> None:
    remove_partial({marks_of(folder), *(path.parent for path in files_of(folder, plan))})
