"""Random access: reading a part of a recording reads only that part's chunks."""

import sys

import numpy as np
import pytest
import torch
import xarray
import zarr
from zarr.storage import LocalStore, WrapperStore

import denoscope as ds

COUNT, LANES, STEPS = 10, 4, 6
SIZES = {"sequence": 2 * 8 * 8 * 4, "conv_in": 8 * 8 * 8 * 4}  # bytes of one entry


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    x = ds.noise.random(COUNT, tiny.shape, seed=5)
    for out in ("run.zarr", "run"):
        ds.record(tiny, x, folder / out, steps=STEPS, lanes=LANES, layers=["conv_in"])
    return folder


class Counted(WrapperStore):
    """A store that counts the bytes that are read of each chunk file."""

    def __init__(self, store):
        super().__init__(store)
        self.read: dict[str, int] = {}

    async def get(self, key, prototype, byte_range=None):
        found = await super().get(key, prototype, byte_range)
        if found is not None and "/c/" in key:
            self.read[key] = self.read.get(key, 0) + len(found)
        return found


@pytest.fixture
def counted(recorded):
    store = Counted(LocalStore(recorded / "run.zarr", read_only=True))
    return store, zarr.open_group(store, mode="r")


@pytest.mark.parametrize(
    ("name", "where", "shards", "entries"),
    [
        ("conv_in", (5, 2), [1], 1),
        ("sequence", (5, -1), [1], 1),
        ("conv_in", (9,), [2], STEPS),
        ("sequence", (0,), [0], STEPS + 1),
        ("conv_in", (slice(None), 3), [0, 1, 2], COUNT),
        ("conv_in", (slice(2, 6), slice(1, 3)), [0, 1], 8),
    ],
)
def test_a_part_of_a_store_reads_its_chunks_and_the_indices_of_their_shards(
    counted, name, where, shards, entries
):
    store, group = counted
    group[name][where]
    assert set(store.read) == {f"{name}/c/{shard}/0/0/0/0" for shard in shards}
    index = LANES * (STEPS + (name == "sequence")) * 16 + 4
    # zarr fetches a shard's index once for each read.
    assert sum(store.read.values()) == entries * SIZES[name] + index * len(shards)


def test_one_value_through_xarray_reads_one_chunk(recorded):
    store = Counted(LocalStore(recorded / "run.zarr", read_only=True))
    data = xarray.open_zarr(store, chunks=None, consolidated=False)
    store.read.clear()
    float(data["conv_in"][7, 4, 0, 0, 0])
    assert set(store.read) == {"conv_in/c/1/0/0/0/0"}
    assert sum(store.read.values()) == SIZES["conv_in"] + LANES * STEPS * 16 + 4


class Opened:
    """Collects the tensor files that are opened while the block runs."""

    listening: list[list[str]] = []  # noqa: RUF012 - an audit hook cannot be removed, so there is one

    def __enter__(self):
        if not Opened.listening:
            sys.addaudithook(lambda event, arguments: self.note(event, arguments))
        self.files: list[str] = []
        Opened.listening.append(self.files)
        return self.files

    def __exit__(self, *_):
        Opened.listening.remove(self.files)

    @staticmethod
    def note(event, arguments):
        if event == "open" and str(arguments[0]).endswith(".pt"):
            for files in Opened.listening:
                files.append(str(arguments[0]))


def test_a_part_of_a_folder_opens_only_the_files_of_its_samples(recorded):
    rec = ds.open(recorded / "run")
    with Opened() as files:
        rec.states["conv_in"][5, 2].to_numpy()
    assert {str(recorded / "run" / "conv_in" / "sample_0005_trajectory.pt")} == set(files)
    with Opened() as files:
        rec.sequence[[1, 8], 0].to_numpy()
    assert set(files) == {str(recorded / "run" / "sequences" / f"sample_000{k}_sequence.pt") for k in (1, 8)}


PARTS = [
    (5, 2, 0), (slice(None), -1), ([1, 8],), ([8, 1], [3, 0]), (slice(2, 9, 3), slice(None), [1, 0]),
    (0, slice(None), 1, [5, 2], slice(0, 8, 2)), ([], 1), (slice(0, 0), 1, [0]), ([3], 2, 0, slice(1, 3), [7]),
    (slice(None, None, -3), [True, False] * 3),
]  # fmt: skip


@pytest.mark.parametrize("where", PARTS)
def test_a_part_of_a_folder_equals_that_part_of_the_store(recorded, where):
    one, two = (ds.open(recorded / out).states["conv_in"] for out in ("run", "run.zarr"))
    found, right = one[where], two.load()[where]
    assert (
        found.dims == right.dims and np.array_equal(found.values, right.values) and found.dtype == right.dtype
    )


def test_one_step_of_a_long_trajectory_file_is_read_without_the_others(tmp_path):
    """The file is mapped: of 200 MB, only what is used becomes resident."""
    from denoscope.foundation import tensor_files
    from denoscope.storage.pt.file import PtFile
    from denoscope.storage.stores.local import LocalStore

    file = PtFile(LocalStore(tmp_path), "x.pt", (200, 2**18), np.dtype("float32"))
    entry = np.ones((1, 2**18), np.float32)
    for _ in range(200):
        file.append(entry)
    file.finish()
    before = resident()
    mapped = tensor_files.load(tmp_path / "x.pt", mmap=True)
    assert mapped[100].sum().item() == 2**18
    assert resident() - before < 50 * 2**20 < mapped.nbytes
    assert torch.equal(mapped[100], torch.ones(2**18))


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
