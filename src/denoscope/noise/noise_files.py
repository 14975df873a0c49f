"""Noises on disk: one .pt file per noise and a JSON manifest with their names, coordinates and parameters."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.checksum import checksum_of_json
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.validation import describe
from denoscope.foundation.writing.atomic_files import write_output
from denoscope.foundation.writing.disk_room import NO_FILES, DiskRoom
from denoscope.foundation.writing.staged_files import staged_files

KIND = "denoscope noise"
FORMAT, WITHOUT_CHECKSUM = f"{KIND} 2", f"{KIND} 1"
FILE_BYTES = 1200
"""The bytes of a tensor's file beyond its values, and of its entry in the manifest."""


def write(
    noises: Iterable[torch.Tensor],
    manifest: Path,
    *,
    names: Sequence[str],
    coords: Mapping[str, np.ndarray],
    parameters: Mapping[str, Any],
    overwrite: bool,
) -> list[Path]:
    """Write noises [C, H, W] beside their manifest; see `NoiseSet.write`."""
    folder = manifest.parent
    for name in names:
        if not is_file_name(name):
            raise UserError(f"the noise {name!r} cannot be written: its name is not a file name; rename it")
    former: set[str] = set()

    def stale() -> list[str]:
        """Files that only the earlier set had."""
        return [f"{name}.pt" for name in sorted(former - set(names))]

    with staged_files(manifest, overwrite=overwrite, stale=stale) as staged:
        if overwrite:  # a damaged manifest is refused before anything is written
            former |= {entry["name"] for entry in samples_of(read_manifest(manifest))}
        for name, noise in zip(names, noises, strict=True):
            tensor_files.save(noise[None], staged / f"{name}.pt")
        samples = _samples(names, coords)
        content = {"format": FORMAT, **parameters, "samples": samples}
        content["checksum"] = checksum_of_json(content)
        with write_output(staged / manifest.name) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())
    return [folder / f"{name}.pt" for name in names]


def check_space(count: int, shape: Sequence[int], folder: Path) -> None:
    """Refuse noises [C, H, W] that the disk cannot hold, before names, coordinates or tensors are made.

    Raises: UserError with the bytes that are needed and those that are free, or if the file system stores no files.
    """
    needed, room = count * (FILE_BYTES + 4 * math.prod(shape)), DiskRoom.at(folder)
    if not room.takes_files:
        raise UserError(f"cannot write {folder}: {NO_FILES}; name another folder")
    if needed > room.free:
        raise UserError(
            f"{folder}: {count:,} noises take {format_bytes(needed)}, and {format_bytes(room.free)} are free; write "
            "fewer, or name another folder"
        )


def is_file_name(name: str) -> bool:
    """Whether NAME.pt is a file of its own folder that is not hidden."""
    return bool(name) and not name.startswith(".") and Path(name).name == name


def _samples(names: Sequence[str], coords: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The entries of a manifest: the name and the coordinates of each noise."""
    columns = {name: values.tolist() for name, values in coords.items()}
    return [
        {"name": name, **{key: column[index] for key, column in columns.items()}}
        for index, name in enumerate(names)
    ]


@dataclass(frozen=True)
class Manifest:
    """What the JSON file of a set of noises must hold beside its parameters; `name` is one of the keys of a sample."""

    format: str
    samples: list[dict[str, bool | int | float | str]]


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of the JSON file of a set of noises; empty if it is missing, or another program's.

    Raises: UserError naming the file if it is not JSON, or a set of noises that does not match its checksum or has an
        invalid sample.
    """
    if not os.path.lexists(path):
        return {}
    content = json_files.read(path, Any)
    if not isinstance(content, dict) or not _is_ours(content):
        return {}
    samples = json_files.check(content, Manifest, str(path)).samples
    _check_intact(content, path)
    for sample in samples:
        name = sample.get("name")
        if not isinstance(name, str) or not is_file_name(name):
            raise MalformedError(
                f"{path} has a sample named {describe(name)}; allowed: names of files without .pt"
            )
        for key in (key for key in sample if not key.isidentifier()):
            raise MalformedError(f"{path} has the coordinate {describe(key)}; allowed: letters, digits and _")
    return content


def _check_intact(content: dict[str, Any], path: Path) -> None:
    """Compare a manifest with its checksum; those of version 1 have none."""
    if content["format"] not in (FORMAT, WITHOUT_CHECKSUM):
        raise MalformedError(f"{path} has format {describe(content['format'])}; allowed: {FORMAT!r}")
    covered = {key: value for key, value in content.items() if key != "checksum"}
    if content["format"] == WITHOUT_CHECKSUM and "checksum" not in content:
        return
    if content.get("checksum") != checksum_of_json(covered):
        raise MalformedError(
            f"{path} is damaged: it does not match its checksum; restore it, or write the noises again"
        )


def parameters_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a set of noises, the same whichever version of the manifest holds them."""
    parameters = {key: value for key, value in manifest.items() if key not in ("samples", "checksum")}
    return parameters | {"format": WITHOUT_CHECKSUM}


def _is_ours(content: dict[str, Any]) -> bool:
    """Whether a JSON file describes noises, by its format or by having samples with names."""
    samples = content.get("samples")
    named = isinstance(samples, list) and any(
        isinstance(entry, dict) and "name" in entry for entry in samples
    )
    return named or str(content.get("format")).startswith(KIND)


def samples_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The samples of a manifest."""
    return manifest.get("samples", [])
