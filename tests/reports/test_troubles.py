"""Damaged, unfinished and missing sources, and what is refused: one line, and nothing written."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from report_page import ReportPage, faults

import denoscope as ds
from denoscope.foundation.writing.result_files import write
from denoscope.storage.stores.local import LocalStore


@pytest.fixture
def copied(here, stored):
    """Copy a source in place of its link."""

    def copy(name: str) -> Path:
        (here / name).unlink()
        path = stored / name
        return Path(shutil.copytree(path, here / name) if path.is_dir() else shutil.copy(path, here / name))

    return copy


def read(*sources, out="page.html") -> ReportPage:
    page = ReportPage.read(ds.report(sources, out))
    assert faults(page) == []
    return page


def test_an_unfinished_recording_is_shown_as_far_as_it_is(copied):
    path = copied("run.zarr")
    (path / "complete/marks/1.json").unlink()
    page = read("run.zarr")
    assert "run.zarr: 8 of 11 samples are finished" in page.notices()[0] and "resume" in page.notices()[0]
    assert page.pictures()[0].shape == (10, 73, 3)
    with LocalStore(path).lock("complete/lock"):
        assert "still being written" in read("run.zarr", out="later.html").notices()[0]


def test_a_recording_without_a_finished_sample_has_no_images(copied):
    path = copied("pairs.zarr")
    (path / "complete/marks/0.json").unlink()
    page = read("pairs.zarr")
    assert "0 of 6 samples" in page.notices()[0] and not page.pictures() and "No image" in page.text


def test_damaged_states_are_left_out_and_named(copied):
    path = copied("run.zarr")
    shard = next(file for file in (path / "sequence/c/1").rglob("0") if file.is_file())
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    page = read("run.zarr")
    first, second = page.notices()
    assert "Damaged" in first and "sequence" in first and str(shard.relative_to(path)) in first
    assert "3 samples left out" in second
    assert page.pictures()[0].shape == (10, 73, 3)
    assert "8 of 11" in page.table("Classes").caption


def test_a_damaged_description_is_refused(copied):
    path = copied("run.zarr")
    root = path / "zarr.json"
    root.write_text(root.read_text().replace('"num_steps": 4', '"num_steps": 5'))
    with pytest.raises(ds.UserError, match="is damaged"):
        ds.report("run.zarr", "page.html")
    assert not Path("page.html").exists()


def test_samples_that_are_not_finite_are_named(here, make_scheduler):
    overflow = torch.nn.Conv2d(1, 1, 1).requires_grad_(False)
    overflow.weight[:] = torch.inf

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = overflow

        def forward(self, x, timestep):  # noqa: ARG002
            return self.first(x)

    denoiser = ds.load(Network(), scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")
    (notice,) = read(ds.record(denoiser, ds.noise.random(1, (1, 8, 8)), here / "nan.zarr", steps=1)).notices()
    assert "NaN or Inf in 1 sample: sample_0000" in notice


@pytest.mark.usefixtures("here")
def test_a_result_without_its_recording_says_which():
    (notice,) = read("divergence.npz").notices()
    assert "pairs.zarr, is not on this page" in notice
    assert not read("divergence.npz", "pairs.zarr", out="both.html").notices()


def test_a_result_of_an_earlier_recording_at_the_same_path_says_so(tiny, here):
    (here / "pairs.zarr").unlink()
    ds.record(tiny, ds.noise.perturbed(5, tiny.shape, epsilon=1.0), "pairs.zarr", steps=2, layers=["conv_in"])
    (notice,) = read("pairs.zarr", "divergence.npz").notices()
    assert "another fingerprint" in notice


def test_an_unfinished_result_says_how_far_it_is(here):
    status = np.array([[1, 2], [3, 0]], np.int8)
    write(
        xarray.Dataset({"computed": (("y", "x"), status == 1), "status": (("y", "x"), status)}),
        here / "half.npz",
    )
    (notice,) = read("half.npz").notices()
    assert "3 of 4 entries" in notice and "resume" in notice


@pytest.mark.parametrize(
    ("sources", "out", "fragments"),
    [
        ([], "page.html", ["sources is empty"]),
        (["none.zarr"], "page.html", ["none.zarr", "no such recording"]),
        (["none.json"], "page.html", ["none.json", "no such file"]),
        (["notes.txt"], "page.html", ["notes.txt", "neither a recording nor a result"]),
        (["other.json"], "page.html", ["other.json", "no result of a measure"]),
        (["broken.json"], "page.html", ["broken.json", "not JSON"]),
        (["broken.npz"], "page.html", ["broken.npz", "not a file of results"]),
        (["folder"], "page.html", ["folder", "not a recording"]),
        ([3], "page.html", ["sources holds 3"]),
        (["run.zarr"], "page.pdf", ["out is page.pdf", ".html"]),
        (["run.zarr"], "taken.html", ["taken.html exists", "overwrite=True"]),
        (["run.zarr"], "run.zarr/page.html", ["run.zarr/page.html", "a part of run.zarr"]),
        (["http://host/run.zarr"], "page.html", ["URL of an unknown kind"]),
    ],
)
def test_what_is_refused(here, sources, out, fragments):
    (here / "notes.txt").write_text("notes")
    (here / "other.json").write_text(json.dumps({"a": {"b": 1}}))
    (here / "broken.json").write_text("{")
    (here / "broken.npz").write_bytes(b"PK")
    (here / "taken.html").write_text("mine")
    (here / "folder").mkdir()
    before = set(here.rglob("*"))
    with pytest.raises(ds.UserError) as caught:
        ds.report(sources, out)
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value
    assert set(here.rglob("*")) == before and (here / "taken.html").read_text() == "mine"


def test_results_need_matplotlib_and_recordings_do_not(here, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    with pytest.raises(ds.UserError, match=r"matplotlib.*denoscope\[plots\]"):
        ds.report(["run.zarr", "geometry.json"], "page.html")
    assert not (here / "page.html").exists()
    assert read("run.zarr").titles == ["run.zarr"]


def test_a_figure_that_cannot_be_drawn_says_why(here):
    path = json.loads((here / "geometry.json").read_text())["path"]
    del path["lengths"]
    (here / "odd.json").write_text(json.dumps(path))
    page = read("odd.json")
    assert "No figure: " in page.text and "lengths" in page.text and not page.all("svg")


@pytest.mark.parametrize(
    ("sources", "out"), [("a\0b", "page.html"), (["a\0b"], "page.html"), ("a.zarr", "a\0b.html")]
)
def test_names_that_no_path_has_are_refused_in_one_line(tmp_path, monkeypatch, sources, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ds.UserError, match=r"^(sources|out) is '?a\\x00b") as refused:
        ds.report(sources, out)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())
