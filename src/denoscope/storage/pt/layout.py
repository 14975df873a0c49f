"""What says how a folder of .pt files is laid out: its manifest, its marks, and where each file lies."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from denoscope.foundation.atomic_files import whole
from denoscope.storage import layout
from denoscope.storage.completion import Mark
from denoscope.storage.plan import ESTIMATES, FORMAT, Plan

MANIFEST, MARKS = "recording.json", ".recording"


def file_of(array: str, sample: str, layer_folders: Mapping[str, str]) -> Path:
    """Where one sample of one array lies below the output folder."""
    if array == "sequence":
        return Path("sequences") / f"{sample}_sequence.pt"
    if array == "final":
        return Path("final_tensors") / f"{sample}.pt"
    if array == ESTIMATES:
        return Path(ESTIMATES) / f"{sample}.pt"
    return Path(layer_folders.get(array, array)) / f"{sample}_trajectory.pt"


def files_of(folder: Path, plan: Plan) -> list[Path]:
    return [
        folder / file_of(array.name, name, plan.layer_folders)
        for array in plan.arrays
        for name in plan.samples
    ]


def content(folder: Path) -> dict[str, Any]:
    """The content of recording.json; nothing where it cannot be read."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def attributes(folder: Path) -> dict[str, Any]:
    """What a recording says of itself; nothing where it cannot be read."""
    found = content(folder).get("attrs")
    return found if isinstance(found, dict) else {}


def set_attribute(folder: Path, name: str, value: Any) -> None:
    found = content(folder)
    found["attrs"][name] = value
    _write_manifest(folder, found)


def is_recording(folder: Path) -> bool:
    return attributes(folder).get("format") == FORMAT


def former_files(folder: Path) -> list[Path]:
    """What the recording that a folder holds has written there."""
    if not is_recording(folder):
        return []
    found = content(folder)
    files = [
        folder / file_of(array["name"], sample, found["layer_folders"])
        for array in found["arrays"]
        for sample in found["samples"]
    ]
    # The manifest is a file like any other: what it names outside of the folder is not ours to remove.
    return [path for path in files if path.is_file() and path.resolve().is_relative_to(folder.resolve())]


def lay_out(folder: Path, plan: Plan, former: Mapping[str, Any]) -> None:
    """Write down what the folder will hold; `former` attributes stay, where it had some."""
    attrs = {**plan.attrs, **former}
    rest = {
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
    layout.write(marks_of(folder), {name: attrs[name] for name in plan.attrs}, rest, {})
    _write_manifest(folder, {"attrs": attrs, **rest})


def _write_manifest(folder: Path, content: dict[str, Any]) -> None:
    # Through the folder of the marks, where remains of a kill are known as ours.
    with whole(folder / MANIFEST, through=marks_of(folder)) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def marks_of(folder: Path) -> Path:
    """The folder of the marks."""
    return folder / MARKS


def extent(folder: Path) -> tuple[int, int]:
    """How many samples a recording is to hold, and how many of them make a group."""
    found = content(folder)
    return len(found["samples"]), found["attrs"]["fingerprint"]["lanes"]


def claimed(_folder: Path, _group: int) -> str:
    """The file beside the mark that says that a group is complete: here none does."""
    return ""


def damaged_layout(folder: Path) -> Iterator[str]:
    """What is wrong with all but the groups, one line for each file."""
    found = content(folder)
    stored = found.pop("attrs", {})
    yield from layout.damaged(folder, marks_of(folder), MANIFEST, stored, found)


def damaged(folder: Path, _group: int, mark: Mark) -> Iterator[str]:
    """What is wrong with a finished group, one line for each file."""
    for name, (expected,) in mark.files.items():
        if what := layout.mismatch(folder / name, expected):
            yield f"{name} {what}"


def part_of(folder: Path, mark: Mark, arrays: Collection[str]) -> Mark:
    """What a mark says of some of the arrays."""
    folders = content(folder)["layer_folders"]
    wanted = {file_of(array, sample, folders).as_posix() for array in arrays for sample in mark.samples}
    return replace(mark, files={name: sums for name, sums in mark.files.items() if name in wanted})
