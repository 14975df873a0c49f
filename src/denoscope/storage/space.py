"""Space in a store: how much is free, how much a recording occupies, and the refusal of one that does not fit."""

from __future__ import annotations

from collections.abc import Iterable

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing.disk_room import NO_FILES
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.capabilities import FiniteStore
from denoscope.storage.stores.local import LocalStore


def free_bytes(store: ByteStore) -> int | None:
    """Return how many bytes can still be stored; None if the store does not know."""
    return store.free_bytes() if isinstance(store, FiniteStore) else None


def footprint(store: ByteStore, sizes: Iterable[int]) -> int:
    """Return the bytes that values of these sizes occupy. A folder counts as one byte, which rounds up to a block."""
    return store.footprint(sizes) if isinstance(store, FiniteStore) else sum(sizes)


def stored_bytes(store: ByteStore, keys: Iterable[str]) -> int:
    """Return the total size of values."""
    return sum(store.size(key) for key in keys) if isinstance(store, FiniteStore) else 0


def check(store: ByteStore, needed: int, freed: int = 0) -> None:
    """Check that `needed` bytes fit once `freed` bytes are removed.

    Raises: UserError if they do not, or if the file system stores no files.
    """
    free = free_bytes(store)
    if free is None or needed <= free + freed:
        return
    if isinstance(store, LocalStore) and not store.room.takes_files:
        raise UserError(f"cannot write {store}: {NO_FILES}; name another output ({spelled('out')})")
    raise UserError(
        f"{store}: the recording needs {format_bytes(needed)}, but only {format_bytes(free + freed)} are free; record "
        f"fewer samples, steps or layers, store less of each state ({spelled('reduce')}, {spelled('state_dtype')}), "
        f"or name another output ({spelled('out')})"
    )
