"""Checksums of everything that describes a recording's layout, so that any change of it is found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from denoscope.foundation.checksum import checksum, checksum_of_json
from denoscope.storage.stores.byte_store import ByteStore

NAME = "layout.json"
UNCOVERED = "created"
"""The attribute that no checksum covers: the only one that differs between two runs of the same work."""
BLOCK = 2**24


def write(
    store: ByteStore, folder: str, attributes: Mapping[str, Any], rest: Any, files: Mapping[str, bytes]
) -> None:
    """Store checksums of a recording's attributes, of the `rest` of their file, and of other files.

    Attributes that are added later, such as a note or a noise floor, are not covered.
    """
    covered = {name: checksum_of_json(value) for name, value in attributes.items() if name != UNCOVERED}
    content = {
        "attributes": covered,
        "rest": checksum_of_json(rest),
        "files": {name: checksum(data) for name, data in files.items()},
    }
    data = json.dumps({**content, "checksum": checksum_of_json(content)}, sort_keys=True).encode()
    store.put(f"{folder}/{NAME}", data)


def damaged(
    store: ByteStore, folder: str, root: str, attributes: Mapping[str, Any], rest: Any
) -> Iterator[str]:
    """Describe in one line each file of the layout that does not match its checksum.

    `attributes` and `rest` are the present content of `root`, the file of attributes.

    Raises: OSError if a file cannot be read.
    """
    key = f"{folder}/{NAME}"
    data = store.get(key)
    if data is None:
        yield f"{key} is missing"
        return
    if (stored := _parse(data)) is None:
        yield f"{key} is damaged"
        return
    wrong = [
        name
        for name, value in stored["attributes"].items()
        if checksum_of_json(attributes.get(name)) != value
    ]
    if wrong:
        yield f"{root} does not match its checksum in {', '.join(wrong)}"
    elif checksum_of_json(rest) != stored["rest"]:
        yield f"{root} does not match its checksum"
    for file, expected in stored["files"].items():
        if what := mismatch(store, file, expected):
            yield f"{file} {what}"


def mismatch(store: ByteStore, key: str, expected: int | None) -> str:
    """Return what is wrong with a value of a known checksum, or "" if it matches.

    Raises: OSError if it cannot be read.
    """
    total, start = 0, 0
    while block := store.get(key, start, BLOCK):
        total, start = checksum(block, total), start + len(block)
    if block is None:
        return "is missing"
    return "" if total == expected else "does not match its checksum"


def _parse(data: bytes) -> dict[str, Any] | None:
    """The content of layout.json, or None if it is damaged."""
    try:
        content = json.loads(data)
        expected = content.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    return content if expected == checksum_of_json(content) else None
