"""Recordings as folders of .pt files, one file for each sample and array."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope import tensors
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
from denoscope.storage.pt_file import PtFile
from denoscope.storage.target import Existing, inside, locked, remove_partial, same_work, writing

if TYPE_CHECKING:
    import xarray

MANIFEST, MARKS, LOCK = "recording.json", ".recording", ".recording/lock"


def file_of(array: str, sample: str, layer_folders: Mapping[str, str]) -> Path:
    """Where one sample of one array lies below the output folder."""
    if array == "sequence":
        return Path("sequences") / f"{sample}_sequence.pt"
    if array == "final":
        return Path("final_tensors") / f"{sample}.pt"
    return Path(layer_folders.get(array, array)) / f"{sample}_trajectory.pt"


class PtWriter:
    """Writes each sample's files entry by entry."""

    def __init__(self, folder: Path, plan: Plan):
        self.folder, self.plan = folder, plan

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, plan: Plan, existing: Existing) -> Iterator[PtWriter]:
        """A writer with the folder's lock held; recording.json says what the folder will hold."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; name a folder or a store NAME.zarr as output")
        files = [
            folder / file_of(array.name, name, plan.layer_folders)
            for array in plan.arrays
            for name in plan.samples
        ]
        places = sorted({path.parent for path in files})
        inside(folder, places)
        there = [path for path in files if path.exists()]
        if there and existing == "refuse":
            raise UserError(
                f"{there[0]} exists, with {len(there) - 1} more of this recording's files; go on by --resume, "
                "replace them with --overwrite, empty the folder with clean_output.sh, or name another output"
            )
        with writing(folder), locked(folder / LOCK, folder):
            if existing == "resume" and is_recording(folder):
                same_work(folder, attributes(folder), plan.attrs)
            elif there and existing == "resume":
                raise UserError(f"{folder} cannot be resumed: its {MANIFEST} is gone; take --overwrite")
            else:
                former = _former_files(folder) if existing == "overwrite" else []
                _begin(folder, plan, {*there, *former})
            remove_partial([folder / MARKS, *places])
            yield cls(folder, plan)

    def finished(self) -> list[int]:
        found = marks.read(self.folder / MARKS)
        return [group for group, mark in found.items() if not list(damaged(self.folder, mark))]

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
        self.whole = False

    def append(self, name: str, rows: torch.Tensor) -> None:
        array = self.arrays[name]
        data = as_array(rows, array.dtype)
        for row, sample in enumerate(self.samples):
            if (name, sample) not in self.files:
                path = self.folder / file_of(name, sample, self.plan.layer_folders)
                self.files[name, sample] = PtFile(path, array.shape, array.dtype)
            self.files[name, sample].append(data[row])

    def flag(self, nonfinite: np.ndarray) -> None:
        self.flags.append(nonfinite)

    def finish(self) -> None:
        for file in self.files.values():
            file.finish()
        self.whole = True
        flags = dict(zip(self.samples, np.stack(self.flags, axis=1), strict=True))
        for group in self.groups:
            samples = [self.plan.samples[index] for index in self.plan.samples_of(group)]
            files = {
                file.path.relative_to(self.folder).as_posix(): [file.crc]
                for (_, sample), file in self.files.items()
                if sample in samples
            }
            wrong = {name: np.flatnonzero(flags[name]).tolist() for name in samples if flags[name].any()}
            marks.write(self.folder / MARKS, group, Mark(samples, files, wrong))

    def discard(self) -> None:
        if not self.whole:
            for file in self.files.values():
                file.discard()


def damaged(folder: Path, mark: Mark) -> Iterator[str]:
    """What is wrong with a finished group, one line for each file."""
    for name, (expected,) in mark.files.items():
        try:
            values = tensors.load(folder / name, mmap=True).contiguous().numpy()
        except UserError as error:
            yield str(error)
            continue
        if zlib.crc32(values.data.cast("B")) != expected:
            yield f"{name} does not match its checksum"


def attributes(folder: Path) -> dict[str, Any]:
    """What a recording says of itself; nothing where it cannot be read."""
    try:
        return json.loads((folder / MANIFEST).read_text())["attrs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def set_attribute(folder: Path, name: str, value: Any) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content["attrs"][name] = value
    _write_manifest(folder, content)


def is_recording(folder: Path) -> bool:
    return attributes(folder).get("format") == FORMAT


def open_folder(folder: Path) -> xarray.Dataset:
    """The latest recording of an output folder as a lazily read dataset."""
    import xarray

    content = json.loads((folder / MANIFEST).read_text())
    version = content["attrs"]["format_version"]
    if version > FORMAT_VERSION:
        raise UserError(
            f"{folder} has format version {version}; this denoscope reads up to {FORMAT_VERSION}: upgrade it"
        )
    samples = content["samples"]
    variables: dict[str, Any] = {}
    for entry in content["arrays"]:
        array = ArrayPlan(
            entry["name"],
            tuple(entry["inner"]),
            tuple(entry["inner_dims"]),
            np.dtype(entry["dtype"]),
            entry["time_dim"],
            entry["count"],
        )
        paths = [folder / file_of(array.name, sample, content["layer_folders"]) for sample in samples]
        variables[array.name] = xarray.Variable(array.stored_dims, _lazily(paths, array))
    coords = {name: (dim, np.array(values)) for name, (dim, values) in content["coords"].items()}
    dataset = xarray.Dataset(variables, coords=coords, attrs=content["attrs"])
    found = marks.read(folder / MARKS).values()
    flagged = {name: steps for mark in found for name, steps in mark.nonfinite.items()}
    nonfinite = np.zeros((len(samples), dataset.sizes["state"]), bool)
    for row, name in enumerate(samples):
        nonfinite[row, flagged.get(name, [])] = True
    done = {name for mark in found for name in mark.samples}
    complete = np.array([name in done for name in samples])
    return dataset.assign_coords(
        {COMPLETE: ("sample", complete), NONFINITE: (("sample", "state"), nonfinite)}
    )


def _lazily(paths: list[Path], array: ArrayPlan) -> Any:
    """An array over one file a sample that reads only what is indexed."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class SampleFiles(BackendArray):
        shape = (len(paths), *array.shape)
        dtype = array.dtype

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.BASIC, self._read
            )

        def _read(self, key: tuple[Any, ...]) -> np.ndarray:
            chosen, rest = key[0], key[1:]
            if isinstance(chosen, slice):
                rows = [self._one(path)[rest] for path in paths[chosen]]
                return np.stack(rows) if rows else np.empty((0, *self.shape[1:]), self.dtype)
            return np.asarray(self._one(paths[chosen])[rest])

        def _one(self, path: Path) -> np.ndarray:
            if not path.exists():  # a sample that the recording did not come to
                return np.full(array.shape, np.nan, array.dtype)
            return tensors.load(path, mmap=True).numpy()

    return indexing.LazilyIndexedArray(SampleFiles())


def _former_files(folder: Path) -> list[Path]:
    """What the recording that a folder holds has written there."""
    if not is_recording(folder):
        return []
    content = json.loads((folder / MANIFEST).read_text())
    files = [
        folder / file_of(array["name"], sample, content["layer_folders"])
        for array in content["arrays"]
        for sample in content["samples"]
    ]
    # The manifest is a file like any other: what it names outside of the folder is not ours to remove.
    return [path for path in files if path.is_file() and path.resolve().is_relative_to(folder.resolve())]


def _begin(folder: Path, plan: Plan, former: set[Path]) -> None:
    """Remove what is to be replaced and write down what the folder will hold."""
    for path in [*former, *(folder / MARKS).glob("*.json")]:
        path.unlink()
    content = {
        "attrs": dict(plan.attrs),
        "samples": list(plan.samples),
        "arrays": [
            {
                "name": array.name,
                "inner": list(array.inner),
                "inner_dims": list(array.inner_dims),
                "dtype": str(array.dtype),
                "time_dim": array.time_dim,
                "count": array.count,
            }
            for array in plan.arrays
        ],
        "coords": {name: [dim, values.tolist()] for name, (dim, values) in plan.coords.items()},
        "layer_folders": dict(plan.layer_folders),
    }
    _write_manifest(folder, content)


def _write_manifest(folder: Path, content: dict[str, Any]) -> None:
    with replacing(folder / MANIFEST) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
