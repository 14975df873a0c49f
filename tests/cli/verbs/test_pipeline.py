"""`denoscope pipeline`: from a plane of noises to a picture of classes."""

from pathlib import Path

import torch
from command_line import call, load, names

LINE = "pipeline --model digits --len_per_direction 16 16 --num_prompts_per_direction 2 2 --num_steps 1 --device cpu --lanes 4"


def test_pipeline_writes_classes_and_pictures():
    call(f"{LINE} --generate_png")
    plane = load("outputs/classifications_plane.pt")
    assert plane.shape == (2, 2)
    assert len(names("outputs/final_tensors")) == 4
    assert "classifications_plane.png" in names("outputs/images", "*.png")
    assert len(names("outputs/images/final_tensors", "*.png")) == 4
    call("classify")
    assert torch.equal(load("outputs/classifications_plane.pt"), plane)


def test_all_results_lie_in_the_output_folder_and_cells_without_digits_are_rejected():
    call(f"{LINE} --reject --output far --len_per_direction 9000 9000")
    found = load("far/classifications_plane.pt")
    assert (found == -1).any() and found.shape == (2, 2)
    assert names("far/images", "*.png") == ["classifications_plane.png"]
    assert not Path("outputs").exists()


def test_pipeline_checks_everything_before_it_denoises(here, refused, monkeypatch):
    refused(f"{LINE} --classifier_weights nofile", "--classifier_weights is nofile")
    (here / "taken").write_text("a file")
    refused(f"{LINE} --output_base_dir taken", "taken")
    with monkeypatch.context() as patched:
        patched.setattr("importlib.util.find_spec", lambda _name: None)
        refused(LINE, "denoscope[plots]")
    assert not Path("outputs/final_tensors").exists()
    call(LINE)
    call(f"{LINE} --resume")
