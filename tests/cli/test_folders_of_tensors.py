"""Folders of .pt files, as every command that takes one reads them."""

import json
import os
from pathlib import Path

import pytest
import torch
from command_line import call, names

READERS = {
    "classify": "classify --tensors folder",
    "compare": "compare --folder folder",
    "image": "image --folder-path folder",
    "record": "record --inputs folder --model {model} --num_steps 1 --output run.zarr",
}


@pytest.fixture
def folder(here) -> Path:
    """Two tensors, which are noises, images and results at once."""
    (here / "folder").mkdir()
    for seed, name in enumerate("ab"):
        x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(seed))
        torch.save(x, here / "folder" / f"{name}.pt")
    return here / "folder"


@pytest.fixture
def images(here) -> Path:
    """Two images of a digit's size."""
    (here / "images").mkdir()
    for name in "ab":
        torch.save(torch.zeros(1, 28, 28), here / "images" / f"{name}.pt")
    return here / "images"


HIDDEN = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
"""How macOS begins the file `._a.pt` that it writes beside `a.pt` on other file systems."""


def test_hidden_files_are_in_no_folder_of_tensors(folder, images, here, small_model, capsys):
    for place in (folder, images):
        (place / "._a.pt").write_bytes(HIDDEN)
    call(f"classify --tensors {images}")
    assert list(json.loads((here / "outputs" / "predictions.json").read_text())) == ["a", "b"]
    call(f"compare --folder {folder}")
    assert "._" not in capsys.readouterr().out
    call(f"image --folder-path {folder}")
    assert [name[0] for name in names("outputs/images/final_tensors", "*.png")] == ["a", "b"]
    call(READERS["record"].format(model=small_model))


@pytest.mark.parametrize("command", READERS)
def test_a_folder_of_hidden_files_holds_no_tensors(command, here, small_model, refused):
    (here / "folder").mkdir()
    (here / "folder" / "._a.pt").write_bytes(HIDDEN)
    refused(READERS[command].format(model=small_model), "folder", "no")
    assert not list(here.rglob("*.png")) and not (here / "run.zarr").exists()


@pytest.mark.parametrize("command", READERS)
def test_a_pipe_among_tensors_is_refused_at_once(command, folder, small_model, refused):
    os.mkfifo(folder / "c.pt")
    refused(READERS[command].format(model=small_model), "folder/c.pt")
