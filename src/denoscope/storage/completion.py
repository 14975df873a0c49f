"""Completion marks: which samples are finished, with checksums of all that belongs to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from denoscope.foundation.checksum import checksum_of_json
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.stores.byte_store import ByteStore, is_key
from denoscope.storage.stores.capabilities import WatchableStore, each, flush


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


WriteMark = Callable[[ByteStore, str, int, Mark], None]
"""Stores the mark of a group below a folder, as `write` does."""


def key_of(folder: str, group: int) -> str:
    """Return the key of a group's mark below the key `folder`."""
    return f"{folder}/{group}.json"


def write(store: ByteStore, folder: str, group: int, mark: Mark) -> None:
    """Store a mark, after everything that it covers is durable."""
    flush(store)
    store.put(key_of(folder, group), _data(group, mark))


def write_once(store: ByteStore, folder: str, group: int, mark: Mark) -> bool:
    """Store a mark as `write` does, unless there is one; return whether the stored mark says the same as this one."""
    data = _data(group, mark)
    flush(store)
    key = key_of(folder, group)
    return store.put_if_absent(key, data) or store.get(key) == data


def write_shared(
    damaged: Callable[[ByteStore, int, Mark, Extent], Iterator[str]],
    planned: Extent,
    store: ByteStore,
    folder: str,
    group: int,
    mark: Mark,
) -> None:
    """Store a mark as `write` does, unless an earlier attempt has stored the same.

    Several processes may write the same group, because one was taken for dead. Attempts write equal bytes under equal
    names, so that it does not matter whose files are there. On different devices bits may differ. Then the files of
    this attempt, which came last, must be whole for its mark to replace the other one.

    Args:
        damaged: describes each file of a group that does not match its mark, in a recording of size `planned`.

    Raises: RuntimeError if the files of two attempts are mixed; the group is unfinished then.
    """
    if write_once(store, folder, group, mark):
        return
    write(store, folder, group, mark)
    if wrong := next(damaged(store, group, mark, planned), None):
        store.delete(key_of(folder, group))
        raise RuntimeError(f"two attempts at group {group} with different bits met: {wrong}")


def _data(group: int, mark: Mark) -> bytes:
    content = {"group": group, **asdict(mark)}
    return json.dumps({**content, "checksum": checksum_of_json(content)}, sort_keys=True).encode()


def read(store: ByteStore, folder: str) -> Iterator[tuple[int, Mark]]:
    """Yield each finished group with its mark, in their order, without damaged marks.

    One mark at a time is in memory: those of a large recording have more bytes than a process should hold.

    Raises: OSError if a mark cannot be read, since its group may be finished.
    """
    yield from ((group, mark) for group, mark in read_all(store, folder) if mark is not None)


def read_sound(store: ByteStore, folder: str) -> Iterator[tuple[int, Mark]]:
    """Yield what `read` does.

    Raises: MalformedError at the first mark that is damaged; OSError as `read` does.
    """
    for group, mark in read_all(store, folder):
        if mark is None:
            raise MalformedError(f"{key_of(folder, group)} is damaged")
        yield group, mark


def read_all(store: ByteStore, folder: str) -> Iterator[tuple[int, Mark | None]]:
    """Yield what `read` does, with None for a damaged mark.

    Raises: OSError as `read` does.
    """
    groups = {key_of(folder, group): group for group in sorted(_groups(store, folder))}
    yield from zip(
        groups.values(), each(store, lambda key: _read(store, key, groups[key]), groups), strict=True
    )


def marked(store: ByteStore, folder: str) -> set[int]:
    """Return the finished groups.

    Raises: OSError as `read` does.
    """
    return {group for group, _ in read(store, folder)}


def times(store: WatchableStore, folder: str) -> dict[int, float]:
    """Return when each group was marked, in seconds since 1970, without reading the marks."""
    marked = ((_group_of(key, folder), time) for key, time in store.times(f"{folder}/"))
    return {group: time for group, time in marked if group is not None}


def _groups(store: ByteStore, folder: str) -> Iterator[int]:
    """The groups that have a mark, sound or not."""
    yield from (group for key in store.list(f"{folder}/") if (group := _group_of(key, folder)) is not None)


def _group_of(key: str, folder: str) -> int | None:
    """The group whose mark has a key; None for other keys."""
    stem, dot, suffix = key.removeprefix(f"{folder}/").partition(".")
    is_number = stem.isdecimal() and stem.isascii() and len(stem) < 10
    return int(stem) if is_number and dot + suffix == ".json" and stem == str(int(stem)) else None


def _read(store: ByteStore, key: str, group: int) -> Mark | None:
    data = store.get(key)
    try:
        content = json_files.parse(data or b"", dict[str, Any], key)
        expected, own_group = content.pop("checksum", None), content.get("group")
        mark = json_files.check(content, Mark, key)
    except MalformedError:
        return None
    sound = expected == checksum_of_json(content) and own_group == group and all(map(is_key, mark.files))
    return mark if sound else None
