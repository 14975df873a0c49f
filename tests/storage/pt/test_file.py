"""Tensor files written entry by entry, which plain torch and plain zip read."""

import os
import zipfile
import zlib

import google_crc32c
import numpy as np
import pytest
import torch

from denoscope.storage.pt.file import OVERHEAD, PtFile
from denoscope.storage.stores.local import FileSink, LocalStore

SHAPES = [(3, 2, 4, 4), (1, 5), (7,), (2, 3)]
DTYPES = ["float16", "float32", "float64"]


def values_of(shape, dtype) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def write(path, values) -> PtFile:
    file = PtFile(LocalStore(path.parent), path.name, values.shape, values.dtype)
    for entry in range(len(values)):
        file.append(values[entry : entry + 1])
    file.finish()
    return file


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_torch_reads_what_was_written(tmp_path, shape, dtype):
    values = values_of(shape, dtype)
    write(tmp_path / "x.pt", values)
    for options in ({}, {"mmap": True}):
        tensor = torch.load(tmp_path / "x.pt", weights_only=True, **options)
        assert torch.equal(tensor, torch.from_numpy(values))
        assert tensor.untyped_storage().nbytes() == values.nbytes
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_the_archive_is_sound_as_a_zip(tmp_path):
    values = values_of((3, 2, 4, 4), "float32")
    write(tmp_path / "x.pt", values)
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is None
        (entry,) = [info for info in archive.infolist() if info.filename.endswith("/data/0")]
        assert zlib.crc32(values.tobytes()) == entry.CRC and entry.file_size == values.nbytes
        assert archive.read(entry) == values.tobytes()


def test_the_content_is_what_torch_saves(tmp_path):
    values = values_of((3, 2, 4, 4), "float32")
    write(tmp_path / "x.pt", values)
    with open(tmp_path / "plain.pt", "wb") as file:
        torch.save(torch.from_numpy(values.copy()), file)
    with zipfile.ZipFile(tmp_path / "x.pt") as own, zipfile.ZipFile(tmp_path / "plain.pt") as plain:
        assert own.namelist() == plain.namelist()
        for name in own.namelist():
            # The serialization id is a hash of all checksums, which are unknown while the file is laid out.
            assert own.read(name) == plain.read(name) or name.endswith("serialization_id")


def test_the_checksum_is_that_of_the_whole_file_and_the_overhead_is_bounded(tmp_path):
    for shape in SHAPES:
        values = values_of(shape, "float32")
        file = write(tmp_path / "x.pt", values)
        content = (tmp_path / "x.pt").read_bytes()
        assert file.checksum == google_crc32c.value(content)
        assert len(content) <= values.nbytes + OVERHEAD


def test_the_same_values_give_the_same_bytes_under_any_name_and_in_any_process(tmp_path):
    values = values_of((3, 4), "float32")
    write(tmp_path / "x.pt", values)
    write(tmp_path / "other" / "long_name_of_a_sample.pt", values)
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "other" / "long_name_of_a_sample.pt").read_bytes()


def test_the_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "x.pt"
    path.write_text("earlier")
    file = PtFile(LocalStore(tmp_path), "x.pt", (2, 3), np.dtype("float32"))
    file.append(np.ones((1, 3), np.float32))
    assert path.read_text() == "earlier"
    file.discard()
    assert [found.name for found in tmp_path.iterdir()] == ["x.pt"] and path.read_text() == "earlier"


def test_nothing_is_left_of_a_file_that_cannot_be_begun(tmp_path, monkeypatch):
    def fails(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileSink, "append", fails)
    with pytest.raises(OSError, match="No space"):
        PtFile(LocalStore(tmp_path), "x.pt", (2, 3), np.dtype("float32"))
    assert not list(tmp_path.iterdir())


def test_more_files_than_a_process_may_hold_open_are_written_at_once(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    values = values_of((2, 3), "float32")
    # Tests before this one in the same process may have left files open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, hard))
    try:
        files = [PtFile(LocalStore(tmp_path), f"{k}.pt", values.shape, values.dtype) for k in range(80)]
        for entry in range(2):
            for file in files:
                file.append(values[entry : entry + 1])
        for file in files:
            file.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list(tmp_path.iterdir())) == 80
    assert torch.equal(torch.load(tmp_path / "79.pt", weights_only=True), torch.from_numpy(values))
