"""`denoscope image`: pictures of sequences and of final tensors."""

from pathlib import Path

import pytest
import torch
from command_line import call, names


@pytest.fixture
def sequences(here) -> Path:
    """Two sequences of three states in a folder."""
    folder = here / "outputs" / "sequences"
    folder.mkdir(parents=True)
    for k in range(2):
        torch.save(torch.rand(3, 1, 28, 28), folder / f"sample_000{k}_sequence.pt")
    return folder


def test_one_state_becomes_a_png(sequences):
    file = sequences.relative_to(Path.cwd()) / "sample_0000_sequence.pt"
    for flags in ("", " --step 0", " --step noise"):
        call(f"image --tensor_path {file}{flags}")
    found = names("outputs/images/sequences", "*.png")
    assert len(found) == 3
    assert {"sample_0000_sequence_step_0001.png", "sample_0000_sequence_step_0000.png"} <= set(found)


def test_a_folder_of_sequences_becomes_strips_and_animations(sequences):
    call(f"image --folder-path {sequences} --all-steps --output-base-dir pictures")
    assert len(names("pictures/sequences", "*.gif")) == 2


def test_a_step_out_of_range_is_refused(sequences, refused):
    file = sequences / "sample_0000_sequence.pt"
    refused(f"image --tensor-path {file} --step 2", "step is 2")
    refused(f"image --tensor-path {file} --step last", "--step is 'last'", "noise")
    assert not Path("outputs/images").exists()


def test_a_picture_is_replaced_with_overwrite_only(sequences, refused):
    line = f"image --tensor-path {sequences}/sample_0000_sequence.pt"
    (place,) = [call(line), *Path("outputs/images/sequences").iterdir()][1:]
    before = place.read_bytes()
    call(line)
    torch.save(torch.rand(3, 1, 28, 28), sequences / "sample_0000_sequence.pt")
    refused(line, f"{place} exists", "--overwrite")
    refused(f"image --folder-path {sequences}", f"{place} exists", "--overwrite")
    assert list(place.parent.iterdir()) == [place] and place.read_bytes() == before
    call(f"{line} --overwrite")
    assert place.read_bytes() != before and not list(Path().rglob(".*"))
