"""Shards written chunk by chunk and read by plain zarr."""

import struct

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import ZstdCodec

from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import shard
from denoscope.storage.zarr.shard import Shard

GRID, INNER = (3, 4), (2, 5)  # samples and entries of one shard; the shape of an entry
VALUES = np.random.default_rng(0).normal(size=(*GRID, *INNER)).astype(np.float32)


@pytest.fixture
def array(tmp_path):
    """A plain zarr array of one shard, and where that shard belongs."""

    def make(codec=None):
        made = zarr.create_array(
            tmp_path / "plain.zarr",
            shape=VALUES.shape,
            chunks=(1, 1, *INNER),
            shards=VALUES.shape,
            dtype="float32",
            fill_value=np.nan,
            compressors=codec,
        )
        return made, tmp_path / "plain.zarr" / "c" / "0" / "0" / "0" / "0"

    return make


def write(path, order, encode=None) -> Shard:
    """A shard whose entries arrive in this order, each for all samples at once."""
    written = Shard(LocalStore(path.parent), path.name, GRID[0] * GRID[1], encode)
    for entry in order:
        positions = [sample * GRID[1] + entry for sample in range(GRID[0])]
        written.append(positions, np.ascontiguousarray(VALUES[:, entry]))
    written.finish()
    return written


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_plain_zarr_reads_what_was_written(array, order):
    plain, path = array()
    write(path, order)
    assert np.array_equal(plain[:], VALUES)
    assert np.array_equal(plain[1, 2], VALUES[1, 2])


def test_plain_zarr_reads_encoded_chunks(array):
    plain, path = array([ZstdCodec(level=1)])
    zstd = Zstd(level=1)
    written = write(path, range(4), lambda chunk: bytes(zstd.encode(np.ascontiguousarray(chunk))))
    assert np.array_equal(plain[:], VALUES)
    assert written.checksums[0] == google_crc32c.value(bytes(zstd.encode(VALUES[0, 0])))


def test_a_missing_chunk_reads_as_the_fill_value(array):
    plain, path = array()
    write(path, (0, 2))
    assert np.array_equal(plain[:, [0, 2]], VALUES[:, [0, 2]])
    assert np.isnan(plain[:, [1, 3]]).all()


def test_a_shard_is_its_chunks_then_an_index_then_the_crc_32c_of_the_index(tmp_path):
    path = tmp_path / "shard"
    written = write(path, (1, 0))
    content, size = path.read_bytes(), VALUES[0, 0].nbytes
    assert content[: 3 * size] == VALUES[:, 1].tobytes()
    assert content[3 * size : 6 * size] == VALUES[:, 0].tobytes()
    missing = 2**64 - 1
    pairs = [(3 + sample) * size for sample in range(3)], [sample * size for sample in range(3)]
    index = b"".join(
        struct.pack("<8Q", pairs[0][k], size, pairs[1][k], size, *[missing] * 4) for k in range(3)
    )
    assert content[6 * size :] == index + struct.pack("<I", google_crc32c.value(index))
    assert len(content) == shard.size_of(12, 6 * size)
    assert written.checksums[0] == google_crc32c.value(VALUES[0, 0].tobytes())
    assert written.checksums[2] is None


def test_the_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "c" / "0"
    unfinished = Shard(LocalStore(tmp_path), "c/0", 2)
    unfinished.append([0], VALUES[:1, 0])
    assert not path.exists() and len(list(path.parent.iterdir())) == 1
    unfinished.discard()
    assert not list(path.parent.iterdir())


def test_a_former_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "shard"
    path.write_text("earlier")
    unfinished = Shard(LocalStore(tmp_path), "shard", 1)
    unfinished.append([0], VALUES[:1, 0])
    assert path.read_text() == "earlier"
    unfinished.finish()
    assert path.stat().st_size == shard.size_of(1, VALUES[0, 0].nbytes)


def test_no_damage_is_found_in_a_sound_shard(tmp_path):
    written = write(tmp_path / "shard", range(4))
    assert shard.damage(LocalStore(tmp_path), "shard", written.checksums) == {}


def test_any_flipped_bit_is_found_at_its_chunk_or_in_the_index(tmp_path):
    path = tmp_path / "shard"
    written = write(path, range(4))
    sound, size = path.read_bytes(), VALUES[0, 0].nbytes
    for place in range(len(sound)):
        flipped = bytearray(sound)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        found = shard.damage(LocalStore(tmp_path), "shard", written.checksums)
        arrived = place // size  # entry after entry, each with all samples
        if arrived < GRID[0] * GRID[1]:
            position = arrived % GRID[0] * GRID[1] + arrived // GRID[0]
            assert found == {position: "does not match its checksum"}
        else:
            assert found == {-1: "is truncated or its index is damaged"}


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_truncated_shard_is_reported(tmp_path, length):
    written = write(tmp_path / "shard", range(4))
    (tmp_path / "shard").write_bytes((tmp_path / "shard").read_bytes()[:length])
    assert shard.damage(LocalStore(tmp_path), "shard", written.checksums) == {
        -1: "is truncated or its index is damaged"
    }


def test_a_missing_shard_and_a_missing_chunk_are_reported(tmp_path):
    written = write(tmp_path / "shard", (0, 1, 2))
    assert shard.damage(LocalStore(tmp_path), "none", written.checksums) == {-1: "is missing"}
    expected = [*written.checksums]
    expected[3] = 1
    assert shard.damage(LocalStore(tmp_path), "shard", expected) == {3: "is missing"}


def test_an_index_that_points_elsewhere_is_found(tmp_path):
    path = tmp_path / "shard"
    written = write(path, range(4))
    content = bytearray(path.read_bytes())
    tail = 12 * 16
    index = content[-tail - 4 : -4]
    index[:16], index[16:32] = index[16:32], index[:16]
    content[-tail - 4 :] = index + struct.pack("<I", google_crc32c.value(bytes(index)))
    path.write_bytes(content)
    assert set(shard.damage(LocalStore(tmp_path), "shard", written.checksums)) == {0, 1}
