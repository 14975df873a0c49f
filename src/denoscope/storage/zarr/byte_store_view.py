"""A `ByteStore` as zarr reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore as ZarrLocalStore

from denoscope.foundation.reading.regular_files import check_regular
from denoscope.storage.stores.byte_store import ByteStore, exists
from denoscope.storage.stores.capabilities import DistantStore
from denoscope.storage.stores.local import LocalStore

T = TypeVar("T")


def zarr_store(store: ByteStore) -> Store:
    """Return a read-only zarr store of the same keys; for local folders that is zarr's own."""
    if isinstance(store, LocalStore) and store.is_in_place:
        return RegularFiles(store.root, read_only=True)
    return ByteStoreView(store)


class RegularFiles(ZarrLocalStore):
    """zarr's store of a local folder, which refuses pipes and devices: to open one can take for ever."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        check_regular(self.root / key)
        return await super().get(key, prototype, byte_range)


class ByteStoreView(Store):
    """Reads any `ByteStore`."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, store: ByteStore):
        super().__init__(read_only=True)
        self._store = store

    def with_read_only(self, read_only: bool = False) -> ByteStoreView:
        if not read_only:
            raise ValueError("a view of a ByteStore cannot be written")
        return ByteStoreView(self._store)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByteStoreView) and other._store is self._store

    __hash__ = None  # type: ignore[assignment]

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        data = await self._request(self._store.get, key, *_as_range(byte_range))
        return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def exists(self, key: str) -> bool:
        return await self._request(exists, self._store, key)

    async def _request(self, request: Callable[..., T], *arguments: Any) -> T:
        """The result of a request; in a thread if the store is distant, so that several are made at once."""
        if isinstance(self._store, DistantStore):
            return await asyncio.to_thread(request, *arguments)
        return request(*arguments)

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self._store.list(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in {key.removeprefix(folder).split("/")[0] for key in self._store.list(folder)}:
            yield name

    async def list(self) -> AsyncIterator[str]:
        for key in self._store.list():
            yield key


def _as_range(request: ByteRequest | None) -> tuple[int | None, int | None]:
    """The start and length that `ByteStore.get` takes."""
    match request:
        case RangeByteRequest():
            return request.start, request.end - request.start
        case OffsetByteRequest():
            return request.offset, None
        case SuffixByteRequest():
            return -request.suffix, None
    return None, None
