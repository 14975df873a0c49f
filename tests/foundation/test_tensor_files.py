"""Tensor files: read without running code, written atomically, with the bytes of the tensor only."""

import hashlib
import os
import pickle
import sys
import textwrap
import warnings

import pytest
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.writing.atomic_files import write_output


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_a_written_tensor_is_read_back(tmp_path, dtype, mmap):
    x = torch.arange(-3, 9).view(3, 4).to(dtype)
    tensor_files.save(x, tmp_path / "x.pt")
    read = tensor_files.load(tmp_path / "x.pt", mmap=mmap)
    assert read.dtype == dtype and torch.equal(read, x)
    assert torch.equal(torch.load(tmp_path / "x.pt", weights_only=True), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_the_hash_covers_the_bytes_of_the_values(dtype):
    x = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=dtype)
    ones = {torch.float32: "0000803f", torch.bfloat16: "803f", torch.int64: "01" + 7 * "00", torch.bool: "01"}
    one = bytes.fromhex(ones[dtype])
    written = b"".join(one if bit else bytes(len(one)) for bit in (0, 1, 1, 1, 0, 0))
    assert tensor_files.sha256(x.T) == hashlib.sha256(written).hexdigest()
    assert tensor_files.sha256(x[0, 1]) == hashlib.sha256(one).hexdigest()


@pytest.mark.parametrize("mmap", [False, True])
def test_files_of_pytorch_before_1_6_are_read(tmp_path, mmap):
    torch.save(torch.ones(3), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(tensor_files.load(tmp_path / "old.pt", mmap=mmap), torch.ones(3))


def test_a_view_is_saved_without_the_rest_of_its_batch(tmp_path):
    batch = torch.zeros(1000, 4, 16, 16)
    tensor_files.save(batch[3], tmp_path / "one.pt")
    tensor_files.save(batch.transpose(0, 1)[:, 5], tmp_path / "strided.pt")
    own = batch[3].numel() * 4
    for name in ("one.pt", "strided.pt"):
        assert own < (tmp_path / name).stat().st_size < own + 4096
        assert tensor_files.load(tmp_path / name).untyped_storage().nbytes() == own


def test_a_parameter_is_read_as_a_plain_tensor(tmp_path):
    torch.save(torch.nn.Parameter(torch.ones(2)), tmp_path / "p.pt")
    assert not tensor_files.load(tmp_path / "p.pt").requires_grad


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    torch.save(Evil(), tmp_path / "torch.pt")
    for name in ("plain.pt", "torch.pt"):
        for mmap in (False, True):
            with pytest.raises(UserError, match=name) as caught:
                tensor_files.load(tmp_path / name, mmap=mmap)
            assert "refused" in str(caught.value)
    assert not mark.exists()


def test_every_truncation_is_refused_by_name(tmp_path):
    torch.save(torch.randn(64, generator=torch.Generator().manual_seed(0)), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in [*range(0, 64), *range(64, len(whole), 37), len(whole) - 1]:
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.pt"):
            tensor_files.load(tmp_path / "cut.pt")


@pytest.mark.parametrize(
    ("value", "received"),
    [({"a": torch.ones(2)}, "a dict"), ([1.0, 2.0], "a list"), (torch.eye(3).to_sparse(), "sparse")],
)
def test_other_contents_are_refused(tmp_path, value, received):
    torch.save(value, tmp_path / "other.pt")
    with pytest.raises(UserError, match=rf"other\.pt holds .*{received}"):
        tensor_files.load(tmp_path / "other.pt")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        tensor_files.load(tmp_path / "none.pt")
    with pytest.raises(UserError, match="it is a folder"):
        tensor_files.load(tmp_path)


def test_errors_are_one_line(tmp_path):
    (tmp_path / "text.pt").write_text("not a tensor at all\n" * 40)
    with pytest.raises(UserError) as caught:
        tensor_files.load(tmp_path / "text.pt")
    assert "\n" not in str(caught.value)


def test_missing_folders_are_created_and_nothing_else(tmp_path):
    tensor_files.save(torch.ones(2), tmp_path / "a" / "b" / "x.pt")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.pt"]


def test_an_interrupted_write_leaves_the_previous_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("former")
    with pytest.raises(KeyboardInterrupt), write_output(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "former"
        raise KeyboardInterrupt
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be replaced there")
def test_a_reader_of_the_previous_file_reads_it_to_the_end(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("former")
    with open(path) as reader:
        with write_output(path) as file:
            file.write(b"new")
        assert reader.read() == "former" and path.read_text() == "new"


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*x\.pt"):
        tensor_files.save(torch.ones(2), tmp_path / "file" / "x.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder\.pt"):
        tensor_files.save(torch.ones(2), tmp_path / "folder.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_reported_and_the_previous_file_remains(tmp_path, recorder):
    tensor_files.save(torch.ones(2), tmp_path / "x.pt")
    # A limit of the file size fails a write half-way, as a full disk does.
    script = textwrap.dedent(
        """
        import resource, torch
        from denoscope.foundation import tensor_files
        from denoscope.foundation.errors import UserError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
        try:
            tensor_files.save(torch.zeros(1 << 20), "x.pt")
        except UserError as error:
            print(error)
        """
    )
    code, printed, _ = recorder.block(tmp_path, code=script)
    assert code == 0 and "cannot write" in printed and "x.pt" in printed and "too large" in printed
    assert torch.equal(tensor_files.load(tmp_path / "x.pt"), torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1


def test_tensors_without_values_are_refused_without_a_warning(tmp_path):
    torch.save(torch.empty(2, device="meta"), tmp_path / "meta.pt")
    with warnings.catch_warnings():  # PyTorch deprecates such tensors; files that hold them stay
        warnings.simplefilter("ignore")
        torch.save(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), tmp_path / "quantized.pt")
    for name in ("meta", "quantized"):
        with pytest.raises(UserError, match=rf"{name}\.pt holds a {name} tensor"):
            tensor_files.load(tmp_path / f"{name}.pt")
