"""How zarr's requests reach a store: at once if it is distant, one after the other if it is near."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

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


async def values_of(store: MemoryStore) -> tuple[list[bytes | None], threading.Thread]:
    """What a store answers, and the thread that asked."""
    values = await ByteStoreView(store).get_partial_values(default_buffer_prototype(), RANGES)
    return [None if value is None else value.to_bytes() for value in values], threading.current_thread()


def run(work):
    """In a thread of its own: the thread of the tests may have a running event loop, that of a browser."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work)).result()


def test_a_distant_store_is_asked_for_several_values_at_once():
    values, _ = run(values_of(Distant()))
    assert values == [b"01234", b"12", b"34", None]


def test_a_near_store_is_read_without_threads():
    store = Noting()
    values, thread = run(values_of(store))
    assert values == [b"01234", b"12", b"34", None]
    assert set(store.threads) == {thread}
