"""`denoscope plot`: a figure of every file that a command writes, and one line for everything else."""

import re

import numpy as np
import pytest
import xarray
from command_line import call, refuse

import denoscope as ds
from denoscope.foundation.writing import result_files


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("noise random --model digits --num_samples 8 --inputs noises")
    call("record --model digits --inputs noises --num_steps 3 --layers mid_block --output run.zarr")
    call("dynamics geometry run.zarr")
    call("dynamics spectrum --model digits --inputs noises --num_steps 2 --samples 2 --k 2")
    call("basins map --model digits --num_steps 2 --num_prompts_per_direction 9 9")
    return tmp_path


def test_recordings_and_results_are_drawn(files, capsys):
    for source, texts in {
        "run.zarr": ("x_0 of 8", "sample_0000", "mid_block"),
        "geometry.json": ("length of the step (L2)", "angle to the next step", "participation ratio"),
        "spectrum.json": ("noise_0000", "noise_0001", "exponent of the whole map (ln)"),
        "basins.npz": ("digits, 2 steps, spherical plane", "class (cells)"),
    }.items():
        capsys.readouterr()
        call(f"plot {source} --output {source}.svg")
        assert capsys.readouterr().out == f"{source}.svg\n"
        # A label that is longer than its axis stands in several lines.
        drawn = " ".join(re.sub("<[^>]*>", "", (files / f"{source}.svg").read_text()).split())
        assert [text for text in texts if text not in drawn] == [], source
    call("plot spectrum.json --result noise_0001 --output one.svg")
    drawn = (files / "one.svg").read_text()
    assert "noise_0001" in drawn and "noise_0000" not in drawn


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("plot none.json", "none.json"),
        ("plot none.zarr", "none.zarr"),
        ("plot notes.txt", "notes.txt"),
        ("plot map.npz --output map.xyz", "map.xyz does not end with a format of pictures; allowed: "),
        (
            "plot map.npz --output figure.png",
            "figure.png exists; replace it (--overwrite) or name another --output",
        ),
        ("plot map.npz --result b", "--result is 'b'; allowed: none, since the file holds one result"),
        ("plot plain.json", "plain.json holds no results; allowed: a file that a measure has written"),
        ("plot empty.npz", "of which nothing is drawn"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.json").write_text('{"a": 1}')
    (tmp_path / "notes.txt").write_text("")
    cells = {"label": (("y", "x"), np.array([[0, 1]]))}
    made = xarray.Dataset(cells, coords={"u": ("x", [0.0, 1.0]), "v": ("y", [0.0])})
    result_files.write(made, tmp_path / "map.npz")
    result_files.write(xarray.Dataset({"other": ("x", [1.0])}), tmp_path / "empty.npz")
    if "figure.png" in arguments:
        (tmp_path / "figure.png").write_bytes(b"kept")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refuse(capsys, arguments, line)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith(".")} == before


def test_a_library_call_draws_what_the_command_draws(files):
    call("plot basins.npz --output one.svg")
    ds.figures.plots.save(ds.figures.draw(ds.figures.read("basins.npz")), "two.svg")
    assert (files / "one.svg").read_bytes() == (files / "two.svg").read_bytes()
