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
