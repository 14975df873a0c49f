"""How zarr's requests reach a store: at once if it is distant, one after the other if it is near."""

import asyncio
import threading

from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from denoscope.storage.stores.memory import MemoryStore
from denoscope.storage.zarr.byte_store_view import ByteStoreView

RANGES = [("a", None), ("a", RangeByteRequest(1, 3)), ("a", SuffixByteRequest(2)), ("none", None)]


class Noting(MemoryStore):
    """Notes the threads that read."""

    def __init__(self):
        super().__init__()
        self.put("a", b"01234")
        self.threads = []

    def get(self, *arguments):
        self.threads.append(threading.current_thread())
        return super().get(*arguments)


class Distant(Noting):
    """Answers when all requests are under way."""

    at_once = len(RANGES)

    def __init__(self):
        super().__init__()
        self.together = threading.Barrier(len(RANGES), timeout=60)

    def get(self, *arguments):
        self.together.wait()
        return super().get(*arguments)


def values_of(store: MemoryStore) -> list[bytes | None]:
    request = ByteStoreView(store).get_partial_values(default_buffer_prototype(), RANGES)
    return [None if value is None else value.to_bytes() for value in asyncio.run(request)]


def test_a_distant_store_is_asked_for_several_values_at_once():
    assert values_of(Distant()) == [b"01234", b"12", b"34", None]


def test_a_near_store_is_read_without_threads():
    store = Noting()
    assert values_of(store) == [b"01234", b"12", b"34", None]
    assert set(store.threads) == {threading.current_thread()}
