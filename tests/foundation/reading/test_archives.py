"""Archives that unpack to more than they hold are refused before they are unpacked; odd tensors in one line."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives, result_files

ZEROS = 2**22


@pytest.fixture
def small(monkeypatch):
    """Let archives of kilobytes stand for those of gigabytes."""
    monkeypatch.setattr(archives, "ALLOWANCE", 2**16)


def deflated(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def tensor_members(tensor):
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mmap", [False, True])
def test_a_tensor_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path, mmap):
    path = tmp_path / "bomb.pt"
    deflated(path, tensor_members(torch.zeros(ZEROS)))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"bomb\.pt.*unpack to 16\.0 MiB; allowed: "):
        tensor_files.load(path, mmap=mmap)
    assert tracemalloc.get_traced_memory()[1] < ZEROS
    tracemalloc.stop()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["label.npy", "told.npy", "label"])
def test_a_file_of_results_that_unpacks_to_gigabytes_is_refused_unread(tmp_path, name):
    path, array = tmp_path / "bomb.npz", io.BytesIO()
    np.save(array, np.zeros(ZEROS, np.uint8))
    deflated(path, {name: array.getvalue()})
    with pytest.raises(UserError, match=r"bomb\.npz.*unpack to 4\.0 MiB; allowed: "):
        result_files.read(path)


def test_files_that_are_compressed_a_little_are_read(tmp_path):
    path, values = tmp_path / "fine.pt", torch.arange(512.0)
    deflated(path, tensor_members(values))
    assert torch.equal(tensor_files.load(path), values)


ODD = {
    "float8": (lambda: torch.zeros(1, 8, 8).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "bits": (lambda: torch.empty(1, 8, 8, dtype=torch.bits8), "bits8"),
    "sparse": (lambda: torch.zeros(8, 8).to_sparse(), "sparse"),
    "overlapping": (lambda: torch.zeros(1).expand(10**6, 10**6), "3.6 TiB"),
    "list": (lambda: [torch.zeros(3)], "list"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("mmap", [False, True])
def test_odd_tensors_are_refused_in_one_line(tmp_path, kind, mmap):
    make, fragment = ODD[kind]
    torch.save(make(), tmp_path / "odd.pt")
    with pytest.raises(UserError, match=rf"odd\.pt holds .*{fragment}") as refused:
        tensor_files.load(tmp_path / "odd.pt", mmap=mmap)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")
def test_a_nested_tensor_is_refused_in_one_line(tmp_path):
    nested = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)])
    torch.save(nested, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"odd\.pt holds a nested tensor"):
        tensor_files.load(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(4.0).expand(3, 4),
        torch.arange(12.0).reshape(3, 4).T,
        torch.zeros(0, 4),
        torch.view_as_complex(torch.arange(12.0).reshape(2, 3, 2)).conj(),
    ],
)
def test_small_views_are_read_as_the_values_that_they_show(tmp_path, tensor):
    torch.save(tensor, tmp_path / "view.pt")
    found = tensor_files.load(tmp_path / "view.pt")
    assert found.is_contiguous() and torch.equal(found, tensor)
    assert np.array_equal(
        found.numpy(), np.array(tensor.tolist(), dtype=found.numpy().dtype).reshape(tensor.shape)
    )
