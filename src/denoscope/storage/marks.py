"""Completion marks: what was finished, with checksums; written last, so that a mark never lies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from denoscope.files import replacing


@dataclass(frozen=True)
class Mark:
    """One finished group of samples: the files that hold it, with a CRC-32C for each chunk.

    `files` maps a path below the recording to the checksums of its chunks, in the order of the file's
    positions; None where a position holds nothing. `nonfinite` maps a sample to the steps after which
    its state was NaN or Inf.
    """

    samples: Sequence[str]
    files: Mapping[str, Sequence[int | None]]
    nonfinite: Mapping[str, Sequence[int]]


def write(folder: Path, group: int, mark: Mark) -> None:
    content = json.dumps(asdict(mark), sort_keys=True)
    with replacing(folder / f"{group}.json") as file:
        file.write(content.encode())


def read(folder: Path) -> dict[int, Mark]:
    """The marks of all finished groups; a damaged mark counts as none."""
    marks = {}
    for path in folder.glob("*.json"):
        try:
            marks[int(path.stem)] = Mark(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
    return dict(sorted(marks.items()))
