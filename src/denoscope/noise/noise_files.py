"""Noises on disk: one .pt file per noise and a JSON manifest with their names, coordinates and parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.writing.atomic_files import write_output
from denoscope.foundation.writing.staged_files import staged_files

if TYPE_CHECKING:
    from denoscope.noise.noise_set import NoiseSet

FORMAT = "denoscope noise 1"


def write(noises: NoiseSet, folder: Path, *, overwrite: bool) -> list[Path]:
    """Write the noises into a folder; see `NoiseSet.write`."""
    for name in noises.names:
        if not is_file_name(name):
            raise UserError(f"the noise {name!r} cannot be written: its name is not a file name; rename it")
    manifest = folder / f"{noises.stem}.json"

    def stale() -> list[Path]:
        """Files that only the earlier set had; a manifest cannot name files in other folders."""
        former = {entry["name"] for entry in samples_of(read_manifest(manifest))} - set(noises.names)
        return [folder / f"{name}.pt" for name in former if is_file_name(name)]

    with staged_files(manifest, overwrite=overwrite, stale=stale) as staged:
        for index, name in enumerate(noises.names):
            tensor_files.save(noises.tensor(index)[None], staged / f"{name}.pt")
        with write_output(staged / manifest.name) as file:
            file.write((json.dumps(_manifest(noises), indent=1) + "\n").encode())
    return [folder / f"{name}.pt" for name in noises.names]


def is_file_name(name: str) -> bool:
    """Whether NAME.pt is a file of its own folder that is not hidden."""
    return bool(name) and not name.startswith(".") and Path(name).name == name


def _manifest(noises: NoiseSet) -> dict[str, Any]:
    columns = {name: values.tolist() for name, values in noises.coords.items()}
    samples = [
        {"name": name, **{key: column[index] for key, column in columns.items()}}
        for index, name in enumerate(noises.names)
    ]
    return {"format": FORMAT, **noises.parameters, "shape": list(noises.shape), "samples": samples}


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest; empty if the file is missing, damaged or another program's."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    known = isinstance(content, dict) and str(content.get("format", "")).startswith("denoscope noise")
    return content if known else {}


def samples_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The valid sample entries of a manifest."""
    samples = manifest.get("samples")
    entries = samples if isinstance(samples, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
