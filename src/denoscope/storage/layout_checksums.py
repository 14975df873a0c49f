"""Checksums of everything that describes a recording's layout, to detect any change of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from denoscope.foundation.checksum import checksum, checksum_of_json
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage.stores.byte_store import ByteStore, is_key
from denoscope.storage.stores.capabilities import each

NAME = "layout.json"
UNCOVERED = "created"
"""The attribute that no checksum covers: the only one that differs between two runs of the same work."""
BLOCK = 2**24


@dataclass(frozen=True)
class Checksums:
    """Checksums of each attribute by name, of the rest of the file that holds them, and of other files by key."""

    attributes: dict[str, int]
    rest: int
    files: dict[str, int]

    def damage_of(self, root: str, attributes: Mapping[str, Any], rest: Any) -> str:
        """Describe in one line what of the file `root` does not match; "" if all does."""
        stored = self.attributes.items()
        wrong = [name for name, value in stored if checksum_of_json(attributes.get(name)) != value]
        if wrong:
            return f"{root} does not match its checksum in {', '.join(wrong)}"
        return "" if checksum_of_json(rest) == self.rest else f"{root} does not match its checksum"


def write(
    store: ByteStore, folder: str, attributes: Mapping[str, Any], rest: Any, files: Mapping[str, bytes]
) -> None:
    """Store checksums of a recording's attributes, of the `rest` of their file, and of other files."""
    covered = {name: checksum_of_json(value) for name, value in attributes.items() if name != UNCOVERED}
    of_files = {name: checksum(data) for name, data in files.items()}
    _write(store, folder, Checksums(covered, checksum_of_json(rest), of_files))


def cover(store: ByteStore, folder: str, name: str, value: Any) -> None:
    """Add the checksum of an attribute that was written later."""
    if (stored := _read(store, folder)) is not None and name != UNCOVERED:
        stored.attributes[name] = checksum_of_json(value)
        _write(store, folder, stored)


def forget(store: ByteStore, folder: str, name: str) -> None:
    """Remove the checksum of an attribute that is about to be written."""
    if (stored := _read(store, folder)) is not None and stored.attributes.pop(name, None) is not None:
        _write(store, folder, stored)


def damaged(
    store: ByteStore, folder: str, root: str, attributes: Mapping[str, Any], rest: Any
) -> Iterator[str]:
    """Describe in one line each file of the layout that does not match its checksum.

    `attributes` and `rest` are the present content of `root`, the file of attributes.

    Raises: OSError if a file cannot be read.
    """
    key = f"{folder}/{NAME}"
    if (data := store.get(key)) is None:
        yield f"{key} is missing"
        return
    if (stored := _parsed(data)) is None:
        yield f"{key} is damaged"
        return
    if problem := stored.damage_of(root, attributes, rest):
        yield problem
    wrong_files = each(store, lambda file: mismatch(store, file, stored.files[file]), stored.files)
    for file, what in zip(stored.files, wrong_files, strict=True):
        if what:
            yield f"{file} {what}"


def damage_of_root(store: ByteStore, folder: str, root: str, attributes: Mapping[str, Any], rest: Any) -> str:
    """Describe the damage of `root` alone, as `damaged` does; "" if there is none, or no checksums to tell.

    Raises: OSError if the checksums cannot be read.
    """
    stored = _read(store, folder)
    return "" if stored is None else stored.damage_of(root, attributes, rest)


def is_changed(store: ByteStore, folder: str, name: str, value: Any) -> bool:
    """Return whether an attribute does not match its checksum; False if none is stored.

    Raises: OSError if the checksums cannot be read.
    """
    expected = {} if (stored := _read(store, folder)) is None else stored.attributes
    return name in expected and expected[name] != checksum_of_json(value)


def mismatch(store: ByteStore, key: str, expected: int | None) -> str:
    """Return what is wrong with a value of a known checksum, or "" if it matches.

    Raises: OSError if it cannot be read.
    """
    total, start, last = 0, 0, BLOCK
    while last == BLOCK:
        if (block := store.get(key, start, BLOCK)) is None:
            return "is missing"
        last = len(block)
        total, start = checksum(block, total), start + last
    return "" if total == expected else "does not match its checksum"


def _write(store: ByteStore, folder: str, checksums: Checksums) -> None:
    content = asdict(checksums)
    data = json.dumps({**content, "checksum": checksum_of_json(content)}, sort_keys=True).encode()
    store.put(f"{folder}/{NAME}", data)


def _read(store: ByteStore, folder: str) -> Checksums | None:
    """The content of layout.json, or None if it is missing or damaged."""
    return _parsed(store.get(f"{folder}/{NAME}") or b"")


def _parsed(data: bytes) -> Checksums | None:
    """The content of layout.json, or None if it is damaged."""
    try:
        content = json_files.parse(data, dict[str, Any], NAME)
        expected = content.pop("checksum", None)
        checksums = json_files.check(content, Checksums, NAME)
    except MalformedError:
        return None
    return checksums if expected == checksum_of_json(content) and all(map(is_key, checksums.files)) else None
