"""Tiny recordings and every way to damage one of the files that describe them, each as a store in memory.

A store in memory reads as a folder does, and thousands of damages a second need no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import stored_runs
import xarray

import denoscope as ds
from denoscope.foundation.errors import UserError
from denoscope.storage import formats, inspection
from denoscope.storage.stores.memory import MemoryStore

OUTPUTS = ("run.zarr", "run_pt")
Files = Mapping[str, bytes]


def record(folder: Path, out: str, **existing: bool) -> Files:
    """The files of a tiny recording of perturbed noises, with one layer, by their keys."""
    x = ds.noise.perturbed(2, stored_runs.SHAPE, epsilon=0.5, base_seed=1, perturb_seed=2)
    ds.record(stored_runs.denoiser(), x, folder / out, steps=2, lanes=2, layers=["first"], **existing)
    return read_files(folder / out)


def read_files(path: Path) -> Files:
    """All files of a recording except its lock."""
    found = (file for file in path.rglob("*") if file.is_file() and file.name != "lock")
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in found}


def describing(files: Files) -> list[str]:
    """The files that hold no states: JSON, and the coordinates of a Zarr store."""
    states = ("sequence/", "first/", "sequences/")
    return sorted(key for key in files if key.endswith(".json") or not key.startswith(states))


@dataclass(frozen=True)
class Damage:
    """New contents of some files, made on demand since there are 200,000 damages; None removes a file."""

    what: str
    changed: Callable[[Files], Mapping[str, bytes | None]]

    def applied(self, files: Files) -> dict[str, bytes]:
        return {key: data for key, data in {**files, **self.changed(files)}.items() if data is not None}


def flips(files: Files, keys: list[str]) -> Iterator[Damage]:
    """Each bit of some files flipped."""
    for key in keys:
        for bit in range(8 * len(files[key])):
            yield Damage(f"bit {bit} of {key}", partial(_flipped, key, bit))


def truncations(files: Files, keys: list[str]) -> Iterator[Damage]:
    """Some files cut off after each of their bytes, and one byte longer."""
    for key in keys:
        for length in range(len(files[key])):
            yield Damage(f"{key} cut to {length} bytes", partial(_cut, key, length))
        yield Damage(f"{key} with one byte more", partial(_longer, key))


def deletions(keys: list[str]) -> Iterator[Damage]:
    """Each of some files removed."""
    return (Damage(f"{key} deleted", partial(_deleted, key)) for key in keys)


def swaps(keys: list[str]) -> Iterator[Damage]:
    """Each pair of some files with their contents exchanged."""
    for number, key in enumerate(keys):
        for other in keys[:number]:
            yield Damage(f"{key} and {other} swapped", partial(_swapped, key, other))


def _flipped(key: str, bit: int, files: Files) -> Mapping[str, bytes | None]:
    changed = bytearray(files[key])
    changed[bit // 8] ^= 1 << bit % 8
    return {key: bytes(changed)}


def _cut(key: str, length: int, files: Files) -> Mapping[str, bytes | None]:
    return {key: files[key][:length]}


def _longer(key: str, files: Files) -> Mapping[str, bytes | None]:
    return {key: files[key] + b"\0"}


def _deleted(key: str, _files: Files) -> Mapping[str, bytes | None]:
    return {key: None}


def _swapped(key: str, other: str, files: Files) -> Mapping[str, bytes | None]:
    return {key: files[other], other: files[key]}


def store_of(files: Files) -> MemoryStore:
    store = MemoryStore()
    for key, data in files.items():
        store.put(key, data)
    return store


def read(store: Any) -> xarray.Dataset:
    """The whole content of a recording, in memory."""
    return formats.open_dataset(store).load()


def outcome(files: Files, sound: xarray.Dataset) -> str:
    """How reading damaged files ends: "damaged" or "refused" by a message of one line, "right", or "unfinished".

    Raises: AssertionError if numbers or attributes are other ones, and whatever else reading raises.
    """
    store = store_of(files)
    with suppress(UserError):
        inspection.inspect(store)
    try:
        found = read(store)
    except UserError as error:
        lines = str(error).splitlines()
        return "in several lines" if lines[1:] else "damaged" if "is damaged" in lines[0] else "refused"
    assert set(found.variables) == set(sound.variables)
    finished = found["complete"].to_numpy()
    for name, wanted in sound.variables.items():
        if name != "complete":
            same_values(found.variables[name], wanted, str(name))
    for name, value in sound.attrs.items():
        # The date affects no number, and no checksum covers it.
        assert name == "created" or found.attrs.get(name) == value, name
    assert not (finished & ~sound["complete"].to_numpy()).any()
    return "right" if np.array_equal(finished, sound["complete"].to_numpy()) else "unfinished"


def same_values(found: Any, wanted: Any, what: str) -> None:
    assert found.dims == wanted.dims and found.dtype == wanted.dtype, what
    assert found.to_numpy().tolist() == wanted.to_numpy().tolist(), what
