"""The files that say how a recording is laid out, with a checksum for each, so that a change shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from denoscope.foundation.atomic_files import whole
from denoscope.foundation.checksum import checksum, checksum_of, checksum_of_file

NAME = "layout.json"
OPEN = "created"
"""The attribute that no checksum covers: the only one in which two runs of the same work differ."""


def write(folder: Path, attributes: Mapping[str, Any], rest: Any, files: Mapping[str, bytes]) -> None:
    """Note in `folder` the checksums of a recording's attributes, of the `rest` of their file and of other files.

    Attributes that are added later, a note or a noise floor, change nothing.
    """
    covered = {name: checksum_of(value) for name, value in attributes.items() if name != OPEN}
    content = {
        "attributes": covered,
        "rest": checksum_of(rest),
        "files": {name: checksum(data) for name, data in files.items()},
    }
    with whole(folder / NAME) as file:
        file.write(json.dumps({**content, "checksum": checksum_of(content)}, sort_keys=True).encode())


def damaged(path: Path, folder: Path, root: str, attributes: Mapping[str, Any], rest: Any) -> Iterator[str]:
    """What is wrong with the layout of the recording at `path`, one line for each file.

    `attributes` and `rest` are what `root`, the file of attributes, says now.
    """
    name = (folder / NAME).relative_to(path)
    if not (folder / NAME).is_file():
        yield f"{name} is missing"
        return
    if (noted := _read(folder / NAME)) is None:
        yield f"{name} is damaged"
        return
    found = {key: checksum_of(attributes.get(key)) for key in noted["attributes"]}
    wrong = [key for key, value in noted["attributes"].items() if found[key] != value]
    if wrong:
        yield f"{root} does not match its checksum in {', '.join(wrong)}"
    elif checksum_of(rest) != noted["rest"]:
        yield f"{root} does not match its checksum"
    for file, expected in noted["files"].items():
        if what := mismatch(path / file, expected):
            yield f"{file} {what}"


def mismatch(path: Path, expected: int | None) -> str:
    """What is wrong with a file of a known checksum; nothing where it matches."""
    try:
        return "" if checksum_of_file(path) == expected else "does not match its checksum"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
        expected = content.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return content if expected == checksum_of(content) else None
