"""Completion marks: which samples are finished, with checksums of all that belongs to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from denoscope.foundation.checksum import checksum_of_json
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import flush


@dataclass(frozen=True)
class Mark:
    """One finished group of samples: the keys that hold it, with a CRC-32C for each chunk.

    `files` maps a key to the checksums of its chunks in the order of their positions, None where a position is empty.
    `nonfinite` maps a sample to the states that hold NaN or Inf, or that follow a step which put some into a recorded
    layer.
    """

    samples: Sequence[str]
    files: Mapping[str, Sequence[int | None]]
    nonfinite: Mapping[str, Sequence[int]]


def key_of(folder: str, group: int) -> str:
    """Return the key of a group's mark below the key `folder`."""
    return f"{folder}/{group}.json"


def write(store: ByteStore, folder: str, group: int, mark: Mark) -> None:
    """Store a mark, after everything that it covers is durable."""
    content = {"group": group, **asdict(mark)}
    data = json.dumps({**content, "checksum": checksum_of_json(content)}, sort_keys=True).encode()
    flush(store)
    store.put(key_of(folder, group), data)


def read(store: ByteStore, folder: str) -> dict[int, Mark]:
    """Return the marks of all finished groups in their order, without damaged marks.

    Raises: OSError if a mark cannot be read, since its group may be finished.
    """
    marks = {group: _read(store, folder, group) for group in sorted(_groups(store, folder))}
    return {group: mark for group, mark in marks.items() if mark is not None}


def damaged(store: ByteStore, folder: str) -> Iterator[str]:
    """Describe each damaged mark in one line."""
    for group in sorted(_groups(store, folder)):
        if _read(store, folder, group) is None:
            yield f"{group}.json is damaged"


def _groups(store: ByteStore, folder: str) -> Iterator[int]:
    """The groups that have a mark, sound or not."""
    for key in store.list(f"{folder}/"):
        stem, dot, suffix = key.removeprefix(f"{folder}/").partition(".")
        if stem.isdigit() and dot + suffix == ".json" and stem == str(int(stem)):
            yield int(stem)


def _read(store: ByteStore, folder: str, group: int) -> Mark | None:
    data = store.get(key_of(folder, group))
    try:
        content = json.loads(data or b"")
        expected = content.pop("checksum")
        if expected != checksum_of_json(content) or content.pop("group") != group:
            return None
        return Mark(**content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
