"""Folders in which a writer stopped while it replaced files that belong together are refused by what reads them."""

import pytest
import torch
from command_line import call


@pytest.mark.parametrize(
    ("line", "folder", "claim"),
    [
        ("dynamics basins labels/classifications_plane.pt", "labels", "predictions.json"),
        ("classify --tensors tensors --output labels", "tensors", "random.json"),
        ("image --folder-path tensors", "tensors", "random.json"),
        ("compare --folder tensors", "tensors", "random.json"),
    ],
)
def test_a_half_replaced_set_is_refused_until_it_is_whole(here, refused, line, folder, claim):
    for name in ("labels", "tensors"):
        (here / name).mkdir()
    torch.save(torch.tensor([[0, 1], [1, 1]]), here / "labels" / "classifications_plane.pt")
    torch.save(torch.rand(1, 28, 28), here / "tensors" / "a.pt")
    (unfinished := here / folder / f".{claim}.unfinished").mkdir()
    refused(line, folder, claim, "unfinished")
    unfinished.rmdir()
    call(line)


def test_what_stopped_while_it_wrote_labels_can_write_them_again(here):
    torch.save(torch.rand(1, 28, 28), here / "a.pt")
    (here / ".predictions.json.unfinished").mkdir()
    call("classify --tensors . --output .")
    assert (here / "predictions.json").is_file() and not (here / ".predictions.json.unfinished").exists()


@pytest.mark.parametrize(
    "line", ["classify --tensors tensors --output labels", "image --folder-path tensors"]
)
def test_a_half_replaced_set_is_refused_where_no_tensor_is_in_its_place_yet(here, refused, line):
    (here / "tensors" / ".random.json.unfinished").mkdir(parents=True)
    refused(line, "tensors", "random.json", "unfinished")
