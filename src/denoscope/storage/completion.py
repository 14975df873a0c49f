"""Completion marks: what was finished, with checksums; written last, so that a mark never lies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from denoscope.foundation.atomic_files import whole
from denoscope.foundation.checksum import checksum_of


@dataclass(frozen=True)
class Mark:
    """One finished group of samples: the files that hold it, with a CRC-32C for each chunk.

    `files` maps a path below the recording to the checksums of its chunks, in the order of the file's
    positions; None where a position holds nothing. `nonfinite` maps a sample to the states that hold NaN
    or Inf, or were left by a step that put some into a recorded layer.
    """

    samples: Sequence[str]
    files: Mapping[str, Sequence[int | None]]
    nonfinite: Mapping[str, Sequence[int]]


def path_of(folder: Path, group: int) -> Path:
    return folder / f"{group}.json"


def write(folder: Path, group: int, mark: Mark) -> None:
    content = {"group": group, **asdict(mark)}
    with whole(path_of(folder, group)) as file:
        file.write(json.dumps({**content, "checksum": checksum_of(content)}, sort_keys=True).encode())


def read(folder: Path) -> dict[int, Mark]:
    """The marks of all finished groups; a damaged mark counts as none."""
    found = {int(path.stem): _read(path) for path in _paths(folder)}
    return {group: mark for group, mark in sorted(found.items()) if mark is not None}


def damaged(folder: Path) -> Iterator[str]:
    """What is wrong with marks that count as none, one line for each."""
    for path in sorted(_paths(folder)):
        if _read(path) is None:
            yield f"{path.name} is damaged"


def _paths(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.json") if path.stem.isdigit()]


def _read(path: Path) -> Mark | None:
    try:
        content = json.loads(path.read_text())
        expected, group = content.pop("checksum"), int(path.stem)
        if expected != checksum_of(content) or content.pop("group") != group:
            return None
        return Mark(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
