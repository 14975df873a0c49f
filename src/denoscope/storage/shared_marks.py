"""Completion marks where several processes may write the same group, because one was taken for dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from denoscope.storage import completion
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark
from denoscope.storage.stores.byte_store import ByteStore


def write(
    damaged: Callable[[ByteStore, int, Mark, Extent], Iterator[str]],
    planned: Extent,
    store: ByteStore,
    folder: str,
    group: int,
    mark: Mark,
) -> None:
    """Store a mark unless an earlier attempt has stored the same.

    Attempts write equal bytes under equal names, so that it does not matter whose files are there. On different
    devices bits may differ. Then the files of this attempt, which came last, must be whole for its mark to replace the
    other one.

    Args:
        damaged: describes each file of a group that does not match its mark, in a recording of size `planned`.

    Raises: RuntimeError if the files of two attempts are mixed; the group is unfinished then.
    """
    if completion.write_once(store, folder, group, mark):
        return
    completion.write(store, folder, group, mark)
    if wrong := next(damaged(store, group, mark, planned), None):
        store.delete(completion.key_of(folder, group))
        raise RuntimeError(f"two attempts at group {group} with different bits met: {wrong}")
