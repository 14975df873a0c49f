"""`denoscope classify` and `denoscope compare`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import call, load

import denoscope as ds
from denoscope.models.classifier import lenet


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, mnist) -> Path:
    """The outputs of a recording of three digits."""
    folder = tmp_path_factory.mktemp("recorded") / "outputs"
    ds.record(mnist, ds.noise.random(3, mnist.shape), folder, steps=2)
    return folder


def predictions(folder: str = "outputs") -> dict:
    return json.loads((Path(folder) / "predictions.json").read_text())


def test_classify_reads_the_results_of_the_last_recording(recorded, here):
    shutil.copytree(recorded, here / "outputs")
    x_0 = load("outputs/sequences/sample_0000_sequence.pt")[-1]
    (here / "outputs" / "final_tensors").mkdir()
    torch.save(torch.zeros_like(x_0), here / "outputs" / "final_tensors" / "sample_0000.pt")
    call("classify")
    assert predictions()["sample_0000"]["confidence"] == ds.classify(x_0[None]).confidence.item()
    before = (here / "outputs" / "predictions.json").read_bytes()
    call("classify")
    assert (here / "outputs" / "predictions.json").read_bytes() == before
    for threads in (1, 2):
        call(f"classify --threads {threads} --output with_{threads}")
        assert [entry["threads"] for entry in predictions(f"with_{threads}").values()] == [threads] * 3


def test_an_image_that_shows_no_digit_gets_label_minus_one_with_reject(here, refused, capsys):
    torch.save(torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(0)), here / "noise.pt")
    for flags, labels in (("", range(10)), (" --reject", [-1])):
        call(f"classify --tensors {here}{flags} --overwrite")
        entry = predictions()["noise"]
        assert entry["label"] in labels and ("likeness" in entry) == bool(flags)
    assert entry["likeness"] < 1 and entry["confidence"] > 0.1
    assert "no digit: 1, labelled -1" in capsys.readouterr().out
    refused(f"classify --tensors {here} --reject --classifier_weights {lenet.WEIGHTS}", "--reject")


def test_predictions_are_replaced_with_overwrite_only(recorded, here, refused):
    shutil.copytree(recorded, here / "outputs")
    call("classify")
    before = (here / "outputs" / "predictions.json").read_bytes()
    call("classify")
    refused("classify --reject", "outputs/predictions.json exists", "--overwrite")
    (here / "mine").mkdir()
    (here / "mine" / "predictions.json").write_text("mine")
    refused("classify --output mine", "mine/predictions.json exists", "--overwrite")
    assert (here / "outputs" / "predictions.json").read_bytes() == before
    assert (here / "mine" / "predictions.json").read_text() == "mine"
    call("classify --reject --overwrite")
    assert (here / "outputs" / "predictions.json").read_bytes() != before
    assert [path.name for path in here.rglob(".*")] == [".recording"]


def test_a_nan_image_gets_label_minus_one_and_leaves_the_others(recorded, here, capsys):
    x_0 = load(recorded / "sequences" / "sample_0000_sequence.pt")[-1]
    torch.save(x_0, here / "a.pt")
    x_0[0, 0, 0] = float("inf")
    torch.save(x_0, here / "b.pt")
    call(f"classify --tensors {here}")
    assert "NaN or Inf: 1, labelled -1" in capsys.readouterr().out
    found = {name: predictions()["b"][name] for name in ("label", "confidence", "margin")}
    assert found == {"label": -1, "confidence": None, "margin": None}
    assert predictions()["a"]["label"] >= 0


@pytest.mark.parametrize(
    ("image", "fragments"),
    [
        (torch.zeros(1, 32, 32), ["b.pt", "[1, 1, 32, 32]"]),
        (torch.zeros(3, 28, 28), ["b.pt", "3, 28, 28]"]),
        (torch.zeros(1, 28, 28, dtype=torch.int32), ["b.pt", "int32"]),
        (torch.zeros(28, 28), ["b.pt", "[28, 28]"]),
    ],
)
def test_an_image_that_is_not_a_digit_s_is_refused_by_its_file(here, refused, image, fragments):
    torch.save(torch.zeros(1, 28, 28), here / "a.pt")
    torch.save(image, here / "b.pt")
    refused(f"classify --tensors {here}", *fragments)
    assert not (here / "outputs").exists()


def test_a_zarr_store_is_refused_with_the_export_that_classify_reads(copied, here, refused):
    copied("digits.zarr")
    line = refused("classify --tensors run.zarr", "run.zarr", ".pt files")
    exec(line.rpartition("with ")[2], {"ds": ds})
    call("classify")
    assert len(json.loads((here / "outputs" / "predictions.json").read_text())) > 0


def test_compare_lists_equal_tensors(here, capsys):
    for name, value in (("a", 0.0), ("b", 1.0), ("c", 0.0)):
        torch.save(torch.full((1, 2, 2), value), here / f"{name}.pt")
    call("compare --folder .")
    out = capsys.readouterr().out
    assert "a.pt" in out and "c.pt" in out
